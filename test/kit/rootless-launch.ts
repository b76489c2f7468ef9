// Run in a user namespace of one id (`unshare --user --map-root-user --mount`): launches as the rootless helper would, and prints what came of it as JSON.
import { CLONE_NEWIPC, CLONE_NEWNET } from '../../proto/abi/sched.gen.ts';
import { DEFAULT_MOUNTS, NEW_NAMESPACES, openLab, planOf, processOf, runToText } from './launcher.ts';

using lab = await openLab({ rootless: true });
const sh = (script: string, plan = {}) =>
  runToText(lab, planOf({ process: processOf(['/bin/sh', '-c', script]), ...plan }));
const without = (bits: number) => ({ unshare: BigInt((NEW_NAMESPACES & ~bits) >>> 0), join: [], uidCount: 1n });
const results = {
  plain: await sh(
    'id -u; echo $$; cat /proc/self/uid_map; echo x >/etc/new && cat /etc/new; echo y >/dev/null && echo null; ls /dev | tr "\\n" " "; cat /proc/keys 2>&1 | wc -c; (echo 1 >/proc/sys/kernel/panic) 2>&1; hostname; ls /sys/class/net; grep -E "^(CapEff|Seccomp):" /proc/self/status | cut -f2',
  ),
  hostNetwork: await sh('ls /sys/class/net | wc -l; (touch /sys/x) 2>&1', { namespaces: without(CLONE_NEWNET) }),
  hostIpc: await sh('true', { namespaces: without(CLONE_NEWIPC), mounts: DEFAULT_MOUNTS }).catch(
    (error: Error) => error.message,
  ),
  init: await sh('exit 3', { init: true }),
};
process.stdout.write(JSON.stringify(results));
