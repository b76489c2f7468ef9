// Run in a user namespace of one id (`unshare --user --map-root-user --mount`): launches as the rootless helper would, and prints what came of it as JSON.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { openPath } from '../../helper/sys/files.ts';
import { O_PATH } from '../../proto/abi/fcntl.gen.ts';
import { CLONE_NEWIPC, CLONE_NEWNET } from '../../proto/abi/sched.gen.ts';
import { Propagation } from '../../proto/gen/berth/helper/v1/plan.ts';
import { DEFAULT_MOUNTS, NEW_NAMESPACES, openLab, planOf, processOf, runToText } from './launcher.ts';

using lab = await openLab({ rootless: true });
const sh = (script: string, plan = {}) =>
  runToText(lab, planOf({ process: processOf(['/bin/sh', '-c', script]), ...plan }));
const without = (bits: number) => ({ unshare: BigInt((NEW_NAMESPACES & ~bits) >>> 0), join: [], uidCount: 1n });
async function locks() {
  const directory = join(lab.directory, 'source');
  mkdirSync(directory);
  const bounding = 0xa80425fbn | (1n << 21n);
  const capabilities = { bounding, effective: bounding, permitted: bounding, inheritable: 0n, ambient: 0n };
  const script =
    'for t in /dst / /sys; do mount -o remount,bind,rw,nosuid,nodev,noexec none $t 2>/dev/null && echo open $t; done; (touch /dst/x /x) 2>&1; umount /dev/null 2>/dev/null && echo gone; echo x >/dev/null && mount -t tmpfs x /tmp && echo mounted';
  const bind = { descriptor: 0, recursive: true, file: false, propagation: Propagation.PROPAGATION_SLAVE };
  const flags = { readOnly: true, noSuid: false, noDev: true, noExec: false };
  const plan = planOf({
    process: processOf(['/bin/sh', '-c', script], { capabilities }),
    root: { source: { $case: 'image', value: { layers: [] } }, readOnly: true },
    mounts: [...DEFAULT_MOUNTS, { source: { $case: 'bind', value: bind }, target: '/dst', ...flags }],
    namespaces: without(CLONE_NEWNET),
  });
  const descriptor = openPath(directory, O_PATH);
  return await runToText(lab, plan, { host: { binds: new Map([[0, { descriptor, idmap: undefined }]]) } });
}
const results = {
  plain: await sh(
    'id -u; echo $$; cat /proc/self/uid_map; echo x >/etc/new && cat /etc/new; echo y >/dev/null && echo null; ls /dev | tr "\\n" " "; cat /proc/keys 2>&1 | wc -c; (echo 1 >/proc/sys/kernel/panic) 2>&1; hostname; ls /sys/class/net; grep -E "^(CapEff|Seccomp):" /proc/self/status | cut -f2',
  ),
  hostNetwork: await sh('ls /sys/class/net | wc -l; (touch /sys/x) 2>&1', { namespaces: without(CLONE_NEWNET) }),
  hostIpc: await sh('true', { namespaces: without(CLONE_NEWIPC), mounts: DEFAULT_MOUNTS }).catch(
    (error: Error) => error.message,
  ),
  init: await sh('exit 3', { init: true }),
  locks: await locks(),
};
process.stdout.write(JSON.stringify(results));
