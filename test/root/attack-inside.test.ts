// What a hostile program in a container reaches of the host, of the helper and of other containers: with Docker's defaults, and with every capability and no
// filter, as its first process and as one that was put beside it.
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { canonicalJson } from '../../proto/policy/canonical.ts';
import { DEFAULT_PROFILE } from '../../proto/policy/profile.ts';
import { DEFAULT_POLICY } from '../../proto/policy/schema.ts';
import { CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER } from '../../proto/abi/sched.gen.ts';
import { Knob, type Launch } from '../../proto/gen/berth/helper/v1/plan.ts';
import { ADA, bindMount, compile, type Lab, MOUNTS, openLab, place } from '../kit/attack.ts';
import { NEW_NAMESPACES } from '../kit/launcher.ts';
import { root, suite, tool } from '../kit/need.ts';

const EVERYWHERE = ['first', 'exec'] as const;

suite('a hostile program', [root, tool('gcc')], () => {
  let lab: Lab;
  /** Containers of ADA's that run: a usual one and one with all rights. */
  let usual: string;
  let mighty: string;
  beforeAll(async () => {
    lab = await openLab();
    usual = (await lab.stay()).id;
    mighty = (await lab.stay({ mighty: true })).id;
  });
  afterAll(async () => {
    await lab[Symbol.asyncDispose]();
  });

  type Rights = { readonly mighty?: boolean };
  const attempts = async (where: (typeof EVERYWHERE)[number], words: readonly string[], rights: Rights = {}) => {
    const container = rights.mighty ? mighty : usual;
    const answers = where === 'first' ? await lab.inside(words, rights) : await lab.beside(container, words, rights);
    return answers.map((line) => line.slice(line.lastIndexOf('=') + 1));
  };

  test.each(EVERYWHERE)('%s: has no descriptor but its standard ones', async (where) => {
    const [fds = ''] = await attempts(where, ['fds']);
    expect(fds.replaceAll(/\[\d+\]/g, '[]').trim()).toBe('0>/dev/null 1>pipe:[] 2>pipe:[]');
  });

  test('nor has one that was given a file', async () => {
    const change = { mounts: [...MOUNTS, bindMount('/x')] };
    const given = place('/usr/share');
    const answers = await lab.inside(['fds', 'read:/x/nothing'], { change, fds: [given] });
    expect(answers[0]?.replaceAll(/\[\d+\]/g, '[]').trim()).toBe('fds=0>/dev/null 1>pipe:[] 2>pipe:[]');
    closeSync(given);
  });

  test.each(EVERYWHERE)("%s: has a keyring that is neither the helper's nor another container's", async (where) => {
    const secret = `berth-${process.pid}`;
    const program = compile('attack-inside');
    // Into the session keyring that the helper has from us.
    expect(spawnSync(program.path, [`keyring:${secret}:of the host`], { encoding: 'utf8' }).stdout).toMatch(/=done\n$/);
    program.remove();
    const read = `keyring:${secret}`;
    expect(await attempts(where, [read, `${read}:mine`, read], { mighty: true })).toEqual(['ENOKEY', 'done', 'mine']);
    expect(await attempts(where, [read], { mighty: true })).toEqual(['ENOKEY']);
    expect(await attempts(where, [read])).toEqual(['EPERM']);
  });

  test.each(EVERYWHERE)('%s: what the default filter keeps away', async (where) => {
    const calls = {
      io_uring_setup: 425,
      io_uring_enter: 426,
      bpf: 321,
      userfaultfd: 323,
      perf_event_open: 298,
      kexec_load: 246,
    };
    const words = Object.values(calls).map((number) => `call:${number}`);
    const namespaces = [CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWNET].map((flag) => `unshare:${flag}`);
    const got = await attempts(where, [...words, ...namespaces, 'foreign']);
    expect(got.slice(0, -1).filter((one) => one !== 'EPERM' && one !== 'ENOSYS')).toEqual([]);
    if (process.arch === 'x64') expect(got.at(-1)).toBe('Bad system call');
  });

  test.each(EVERYWHERE)('%s: with every right, nothing of the host answers', async (where) => {
    const tries: Readonly<Record<string, string>> = {
      // Its own group, whose files are the host root's; the file of an agent is in the topmost group alone (CVE-2022-0492).
      'mount:/tmp:cgroup': 'done',
      'write:/tmp/release_agent:/x': 'EACCES',
      'write:/tmp/notify_on_release:1': 'EACCES',
      'write:/tmp/cgroup.procs:1': 'EACCES',
      'write:/tmp/memory.limit_in_bytes:1000': 'EACCES',
      'mkdir:/tmp/more': 'EACCES',
      'write:/proc/sys/kernel/core_pattern:|/x': 'EACCES',
      'write:/proc/sys/kernel/panic:1': 'EACCES',
      'write:/proc/sys/vm/overcommit_memory:1': 'EACCES',
      'write:/proc/sys/fs/file-max:1': 'EACCES',
      'open:/proc/kmsg': 'EACCES',
      'mknod:/dev/new:1': 'EPERM',
      'mknod:/new:1': 'EPERM',
      'remount:/:dev': 'EPERM',
      'trusted:/inside': 'EPERM',
      'mount:/dev:bpf': 'EPERM',
      'mount:/dev:debugfs': 'EPERM',
      'mount:/dev:tracefs': 'EPERM',
      'mount:/dev:securityfs': 'EPERM',
      'mount:/dev:ext4': 'EPERM',
      'call:167': 'EPERM', // swapon
    };
    const native = Object.entries(tries).filter(([word]) => process.arch === 'x64' || !word.startsWith('call:'));
    const got = await attempts(
      where,
      native.map(([word]) => word),
      { mighty: true },
    );
    expect(native.map(([word], i) => [word, got[i]])).toEqual(native);
  });

  test.each(EVERYWHERE)('%s: with the usual rights, mounts and what they hide stay', async (where) => {
    const kinds = ['proc', 'sysfs', 'tmpfs', 'cgroup', 'overlay'].map((kind) => `mount:/tmp:${kind}`);
    const words = [
      ...kinds,
      'unmount:/proc',
      'unmount:/proc/kcore',
      'unmount:/dev',
      'remount:/proc/sys:rw',
      'remount:/:dev',
    ];
    expect(new Set(await attempts(where, words))).toEqual(new Set(['EPERM']));
    const [own] = await attempts(where, ['write:/proc/sys/net/ipv4/ip_forward:1']);
    expect(own).toMatch(/^(EACCES|EROFS)$/);
    for (const masked of await attempts(
      where,
      ['keys', 'timer_list'].map((name) => `read:/proc/${name}`),
    ))
      expect(masked).toMatch(/^(|ENOENT)$/);
  });

  test("listens as it likes, reaches no socket of the host's: neither by name nor in the abstract", async () => {
    const names = [`\0berth-attack-${process.pid}`, join(lab.helper.directory, 'open.sock')];
    const servers = names.map((name) => createServer().listen(name));
    await Promise.all(servers.map((server) => new Promise((resolve) => server.once('listening', resolve))));
    const words = [
      `connect:@berth-attack-${process.pid}`,
      `connect:${names[1]}`,
      `connect:${lab.helper.directory}/run/helper.sock`,
    ];
    for (const rights of [{}, { mighty: true }])
      expect(await attempts('first', words, rights)).toEqual(['ECONNREFUSED', 'ENOENT', 'ENOENT']);
    for (const server of servers) server.close();
  });

  test("in the host's pid namespace, where a policy lets it in: processes of the host's give nothing away", async () => {
    const hostNamespaces = [...DEFAULT_PROFILE.hostNamespaces, 'pid'];
    const profiles = { default: { ...DEFAULT_PROFILE, hostNamespaces } };
    const file = join(lab.helper.directory, 'etc/policy.json');
    writeFileSync(file, canonicalJson({ ...DEFAULT_POLICY, profiles }), { mode: 0o644 });
    const { helper, keeper } = lab.helper.pids();
    const hers = spawn('sleep', ['100'], { uid: ADA, gid: ADA });
    const namespaces = { unshare: BigInt((NEW_NAMESPACES & ~CLONE_NEWPID) >>> 0), join: [], uidCount: 65_536n };
    const mounts = MOUNTS.filter(({ target }) => target !== '/proc');
    try {
      const words = [helper, keeper, hers.pid, process.pid, 1].map((pid) => `reach:${pid}`);
      const answers = await lab.inside(words, { mighty: true, change: { namespaces, mounts } });
      expect(answers).toEqual(words.map((word) => `${word}=nothing`));
      expect(await lab.inside(['reach:1'], { mighty: true })).not.toEqual(['reach:1=nothing']);
    } finally {
      hers.kill();
      rmSync(file);
    }
  });

  test('a fork bomb and a storm of short processes end at the limit, and nobody else feels them', async () => {
    const limits = (most: bigint): Partial<Launch> => {
      const settings = [{ knob: Knob.KNOB_PIDS_MAX, value: most }];
      return { limits: { settings, throttles: [], cpus: '', mems: '', deviceRules: [] } };
    };
    const [bombed] = await lab.inside(['bomb'], { change: limits(40n) });
    expect(bombed).toMatch(/^bomb=([1-9]|[1-3]\d) then EAGAIN$/);
    // Zombies count, as in the kernel: nobody inside has waited for them.
    expect(await lab.inside(['storm:500'], { change: limits(100n) })).toEqual(['storm:500=EAGAIN']);
    expect(await lab.inside(['storm:1000'], { change: limits(2000n) })).toEqual(['storm:1000=done']);
    expect(await lab.beside(usual, ['storm:1000'])).toEqual(['storm:1000=done']);
    expect(await lab.inside(['uid'], { client: lab.bob })).toEqual(['uid=0:0']);
  });
});
