import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Malformed } from '../../../proto/policy/form.ts';
import { decodeRequest } from '../../../helper/decode/request.ts';
import { CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUSER } from '../../../proto/abi/sched.gen.ts';
import { type Launch, type Mount, Propagation } from '../../../proto/gen/berth/helper/v1/plan.ts';
import type { Request } from '../../../proto/gen/berth/helper/v1/request.ts';
import { bytesOf, DIGEST, exec, ID, launch, OTHER, process_, request } from './sample.ts';

type Verb = NonNullable<Request['verb']>;
const launched = (change: Partial<Launch>): Request => request({ $case: 'launch', value: { ...launch, ...change } });
const withProcess = (change: object): Request => launched({ process: { ...process_, ...change } });
const withMount = (change: object): Request => launched({ mounts: [{ ...(launch.mounts[4] as Mount), ...change }] });
const withSpaces = (change: object): Request =>
  launched({ namespaces: { unshare: 0n, join: [], uidCount: 65536n, ...launch.namespaces, ...change } });
const withLimits = (change: object): Request =>
  launched({ limits: { settings: [], throttles: [], cpus: '', mems: '', deviceRules: [], ...change } });
const withHardening = (change: object): Request =>
  launched({ hardening: { seccomp: 1, maskedPaths: [], readOnlyPaths: [], sysctls: [], ...change } });
const withDevice = (change: object): Request =>
  launched({ devices: [{ path: 'null', block: false, major: 1, minor: 3, mode: 0o666, uid: 0, gid: 0, ...change }] });
const bind = { descriptor: 0, recursive: false, file: false, propagation: Propagation.PROPAGATION_PRIVATE };

const GOOD: Verb[] = [
  { $case: 'launch', value: launch },
  { $case: 'exec', value: exec },
  { $case: 'signal', value: { container: ID, exec: '', signal: 9, all: true } },
  { $case: 'signal', value: { container: ID, exec: OTHER, signal: 64, all: false } },
  { $case: 'pause', value: { container: ID, frozen: true } },
  { $case: 'update', value: { container: ID, limits: launch.limits } },
  { $case: 'remove', value: { container: ID } },
  { $case: 'attach', value: { container: ID, exec: '' } },
  { $case: 'importLayer', value: { diffId: DIGEST, sizeBytesMax: 1000n } },
  { $case: 'mergeImage', value: { layers: [DIGEST, DIGEST] } },
  { $case: 'dropLayer', value: { diffId: DIGEST } },
  { $case: 'dropImage', value: { layers: [DIGEST] } },
  { $case: 'watch', value: {} },
  { $case: 'forget', value: { container: ID, exec: OTHER } },
];

test.each(GOOD.map((verb) => [verb.$case, verb] as const))(
  'decodeRequest() gives back a right %s, frozen',
  (_, verb) => {
    const decoded = decodeRequest(bytesOf(request(verb)));
    expect(decoded.verb).toEqual(verb);
    expect(Object.isFrozen(decoded.verb.value)).toBe(true);
  },
);

const USER_ONLY = BigInt(CLONE_NEWNS | CLONE_NEWUSER);
// [what, request, the field that is named]
const BAD: [string, Request, string][] = [
  ['an instance of 8 bytes', { ...request({ $case: 'watch', value: {} }), instance: Buffer.alloc(8) }, 'instance'],
  ['sequence 0', { ...request({ $case: 'watch', value: {} }), sequence: 0n }, 'sequence'],
  ['a principal with a slash', { ...request({ $case: 'watch', value: {} }), principal: '../x' }, 'principal'],
  ['a principal of one dot', { ...request({ $case: 'watch', value: {} }), principal: '.' }, 'principal'],
  ['no profile', { ...request({ $case: 'watch', value: {} }), profile: '' }, 'profile'],
  ['a ticket of 4 bytes', { ...request({ $case: 'watch', value: {} }), ticket: Buffer.alloc(4) }, 'ticket'],
  ['no verb', { ...request({ $case: 'watch', value: {} }), verb: undefined }, 'verb'],
  ['a bind without a ticket', { ...launched({}), ticket: Buffer.alloc(0) }, 'ticket'],
  ['an import without a ticket', { ...request(GOOD[8] as Verb), ticket: Buffer.alloc(0) }, 'ticket'],
  ['a short id', launched({ id: 'abc' }), 'launch.id'],
  ['an id in capitals', launched({ id: 'A'.repeat(64) }), 'launch.id'],
  ['no root', launched({ root: undefined }), 'launch.root'],
  ['a root of nothing', launched({ root: { source: undefined, readOnly: false } }), 'launch.root.source'],
  [
    'no layers',
    launched({ root: { source: { $case: 'image', value: { layers: [] } }, readOnly: false } }),
    'launch.root.image.layers',
  ],
  [
    'a layer by md5',
    launched({ root: { source: { $case: 'image', value: { layers: ['md5:00'] } }, readOnly: false } }),
    'launch.root.image.layers[0]',
  ],
  [
    'root descriptor 200',
    launched({ root: { source: { $case: 'directory', value: { descriptor: 200 } }, readOnly: false } }),
    'launch.root.directory.descriptor',
  ],
  ['a relative target', withMount({ target: 'data' }), 'launch.mounts[0].target'],
  ['a target with ..', withMount({ target: '/a/../b' }), 'launch.mounts[0].target'],
  ['a target with //', withMount({ target: '/a//b' }), 'launch.mounts[0].target'],
  ['a target with a final slash', withMount({ target: '/a/' }), 'launch.mounts[0].target'],
  ['a target with a NUL', withMount({ target: '/a\0b' }), 'launch.mounts[0].target'],
  ['a target of 5000 bytes', withMount({ target: `/${'a/'.repeat(2499)}a` }), 'launch.mounts[0].target'],
  ['a target component of 300 bytes', withMount({ target: `/${'a'.repeat(300)}` }), 'launch.mounts[0].target'],
  ['the root as target', withMount({ target: '/' }), 'launch.mounts[0].target'],
  ['a target in /proc', withMount({ target: '/proc/self' }), 'launch.mounts[0].target'],
  ['the target /proc', withMount({ target: '/proc' }), 'launch.mounts[0].target'],
  ['a target in /sys', withMount({ target: '/sys/fs/cgroup' }), 'launch.mounts[0].target'],
  ['the target /dev', withMount({ target: '/dev' }), 'launch.mounts[0].target'],
  ['a mount of nothing', withMount({ source: undefined }), 'launch.mounts[0].source'],
  [
    'proc elsewhere',
    withMount({ source: { $case: 'kernel', value: { filesystem: 1 } }, target: '/x' }),
    'launch.mounts[0].target',
  ],
  [
    'an unknown kernel file system',
    withMount({ source: { $case: 'kernel', value: { filesystem: 99 } }, target: '/x' }),
    'launch.mounts[0].kernel.filesystem',
  ],
  [
    'hosts elsewhere',
    withMount({ source: { $case: 'file', value: { name: 2, content: Buffer.alloc(1) } }, target: '/etc/passwd' }),
    'launch.mounts[0].target',
  ],
  [
    'a bind without propagation',
    withMount({ source: { $case: 'bind', value: { ...bind, propagation: 0 } } }),
    'launch.mounts[0].bind.propagation',
  ],
  [
    'an unknown propagation',
    withMount({ source: { $case: 'bind', value: { ...bind, propagation: 4 } } }),
    'launch.mounts[0].bind.propagation',
  ],
  [
    'bind descriptor 200',
    withMount({ source: { $case: 'bind', value: { ...bind, descriptor: 200 } } }),
    'launch.mounts[0].bind.descriptor',
  ],
  [
    'a tmpfs mode of 5 digits',
    withMount({ source: { $case: 'tmpfs', value: { sizeBytes: 0n, mode: 0o10000, uid: 0, gid: 0 } } }),
    'launch.mounts[0].tmpfs.mode',
  ],
  [
    'two mounts on one target',
    launched({ mounts: [launch.mounts[4] as Mount, launch.mounts[4] as Mount] }),
    'launch.mounts',
  ],
  [
    'a parent after its child',
    launched({ mounts: [launch.mounts[4] as Mount, { ...(launch.mounts[4] as Mount), target: '/data/x' }].reverse() }),
    'launch.mounts[1].target',
  ],
  ['no process', launched({ process: undefined }), 'launch.process'],
  ['an empty argv', withProcess({ argv: [] }), 'launch.process.argv'],
  ['an argument with a NUL', withProcess({ argv: ['a\0'] }), 'launch.process.argv[0]'],
  ['an environment entry without =', withProcess({ env: ['PATH'] }), 'launch.process.env[0]'],
  ['an environment entry without a key', withProcess({ env: ['=x'] }), 'launch.process.env[0]'],
  ['no executable', withProcess({ executables: [] }), 'launch.process.executables'],
  ['an empty executable', withProcess({ executables: [''] }), 'launch.process.executables[0]'],
  ['a relative working directory', withProcess({ cwd: 'x' }), 'launch.process.cwd'],
  ['uid 2^32 - 1', withProcess({ uid: 0xffffffff }), 'launch.process.uid'],
  ['gid 2^32 - 1', withProcess({ gid: 0xffffffff }), 'launch.process.gid'],
  ['group 2^32 - 1', withProcess({ groups: [0xffffffff] }), 'launch.process.groups[0]'],
  [
    'an unknown resource',
    withProcess({ rlimits: [{ resource: 17, soft: 0n, hard: 0n }] }),
    'launch.process.rlimits[0].resource',
  ],
  [
    'a soft limit above the hard one',
    withProcess({ rlimits: [{ resource: 1, soft: 2n, hard: 1n }] }),
    'launch.process.rlimits[0].soft',
  ],
  [
    'a resource twice',
    withProcess({ rlimits: [1, 1].map((resource) => ({ resource, soft: 1n, hard: 1n })) }),
    'launch.process.rlimits',
  ],
  ['no capability sets', withProcess({ capabilities: undefined }), 'launch.process.capabilities'],
  [
    'capability 41',
    withProcess({ capabilities: { bounding: 1n << 41n, effective: 0n, permitted: 0n, inheritable: 0n, ambient: 0n } }),
    'launch.process.capabilities.bounding',
  ],
  [
    'permitted beyond bounding',
    withProcess({ capabilities: { bounding: 1n, effective: 0n, permitted: 2n, inheritable: 0n, ambient: 0n } }),
    'launch.process.capabilities.permitted',
  ],
  [
    'effective beyond permitted',
    withProcess({ capabilities: { bounding: 3n, effective: 2n, permitted: 1n, inheritable: 0n, ambient: 0n } }),
    'launch.process.capabilities.effective',
  ],
  [
    'ambient beyond inheritable',
    withProcess({ capabilities: { bounding: 1n, effective: 1n, permitted: 1n, inheritable: 0n, ambient: 1n } }),
    'launch.process.capabilities.ambient',
  ],
  ['oom_score_adj 1001', withProcess({ oomScoreAdj: 1001 }), 'launch.process.oom_score_adj'],
  ['umask 01000', withProcess({ umask: 0o1000 }), 'launch.process.umask'],
  ['no namespaces', launched({ namespaces: undefined }), 'launch.namespaces'],
  ['a bit that is no namespace', withSpaces({ unshare: USER_ONLY | 1n }), 'launch.namespaces.unshare'],
  ['the host mount namespace', withSpaces({ unshare: BigInt(CLONE_NEWUSER) }), 'launch.namespaces.unshare'],
  [
    'a join of two bits',
    withSpaces({
      unshare: BigInt(CLONE_NEWNS),
      join: [{ namespace: BigInt(CLONE_NEWNET | CLONE_NEWUSER), container: OTHER }],
      uidCount: 0n,
    }),
    'launch.namespaces.join[0].namespace',
  ],
  [
    'a join of the mount namespace',
    withSpaces({ join: [{ namespace: BigInt(CLONE_NEWNS), container: OTHER }] }),
    'launch.namespaces.join[0].namespace',
  ],
  [
    'a namespace made and joined',
    withSpaces({ join: [{ namespace: BigInt(CLONE_NEWNET), container: OTHER }] }),
    'launch.namespaces.join[0].namespace',
  ],
  [
    'a network joined without its user namespace',
    withSpaces({ unshare: USER_ONLY, join: [{ namespace: BigInt(CLONE_NEWNET), container: OTHER }] }),
    'launch.namespaces.join',
  ],
  [
    'a join of itself',
    withSpaces({
      unshare: BigInt(CLONE_NEWNS),
      uidCount: 0n,
      join: [{ namespace: BigInt(CLONE_NEWUSER), container: ID }],
    }),
    'launch.namespaces.join',
  ],
  [
    'a uid range without user namespace',
    withSpaces({ unshare: BigInt(CLONE_NEWNS), uidCount: 1n }),
    'launch.namespaces.uid_count',
  ],
  ['a user namespace of no ids', withSpaces({ uidCount: 0n }), 'launch.namespaces.uid_count'],
  ['a user namespace of 2^21 ids', withSpaces({ uidCount: 1n << 21n }), 'launch.namespaces.uid_count'],
  ['a host name of 65 letters', launched({ hostname: 'a'.repeat(65) }), 'launch.hostname'],
  ['a host name with a slash', launched({ hostname: 'a/b' }), 'launch.hostname'],
  ['a host name for the host', withSpaces({ unshare: USER_ONLY | BigInt(CLONE_NEWNET) }), 'launch.hostname'],
  ['no limits', launched({ limits: undefined }), 'launch.limits'],
  ['an unknown knob', withLimits({ settings: [{ knob: 99, value: 1n }] }), 'launch.limits.settings[0].knob'],
  ['a quota of 999', withLimits({ settings: [{ knob: 1, value: 999n }] }), 'launch.limits.settings[0].value'],
  ['a period of -1', withLimits({ settings: [{ knob: 2, value: -1n }] }), 'launch.limits.settings[0].value'],
  ['memory of -2', withLimits({ settings: [{ knob: 5, value: -2n }] }), 'launch.limits.settings[0].value'],
  ['a knob twice', withLimits({ settings: [5, 5].map((knob) => ({ knob, value: 1n })) }), 'launch.limits.settings'],
  [
    'a throttle of 0',
    withLimits({ throttles: [{ major: 8, minor: 0, kind: 1, value: 0n }] }),
    'launch.limits.throttles[0].value',
  ],
  [
    'a throttle on major 4096',
    withLimits({ throttles: [{ major: 4096, minor: 0, kind: 1, value: 1n }] }),
    'launch.limits.throttles[0].major',
  ],
  ['processors in words', withLimits({ cpus: 'all' }), 'launch.limits.cpus'],
  ['processors downwards', withLimits({ cpus: '3-1' }), 'launch.limits.cpus'],
  [
    'a device rule of nothing',
    withLimits({ deviceRules: [{ block: false, major: 1n, minor: 1n, read: false, write: false, mknod: false }] }),
    'launch.limits.device_rules[0]',
  ],
  [
    'a device rule of -2',
    withLimits({ deviceRules: [{ block: false, major: -2n, minor: 1n, read: true, write: false, mknod: false }] }),
    'launch.limits.device_rules[0]',
  ],
  ['no hardening', launched({ hardening: undefined }), 'launch.hardening'],
  ['no word on seccomp', withHardening({ seccomp: 0 }), 'launch.hardening.seccomp'],
  ['a mask of /etc', withHardening({ maskedPaths: ['/etc'] }), 'launch.hardening.masked_paths[0]'],
  ['a mask through ..', withHardening({ maskedPaths: ['/proc/../proc/kcore'] }), 'launch.hardening.masked_paths[0]'],
  ['/ as read-only path', withHardening({ readOnlyPaths: ['/'] }), 'launch.hardening.read_only_paths[0]'],
  [
    'a sysctl with slashes',
    withHardening({ sysctls: [{ name: 'net/../kernel/panic', value: '1' }] }),
    'launch.hardening.sysctls[0].name',
  ],
  [
    'a sysctl of the host',
    withHardening({ sysctls: [{ name: 'kernel.panic', value: '1' }] }),
    'launch.hardening.sysctls[0].name',
  ],
  [
    'a sysctl value with a new line',
    withHardening({ sysctls: [{ name: 'net.ipv4.ip_forward', value: '1\n' }] }),
    'launch.hardening.sysctls[0].value',
  ],
  ['a device in /dev/pts', withDevice({ path: 'pts/0' }), 'launch.devices[0].path'],
  ['a device outside of /dev', withDevice({ path: '../x' }), 'launch.devices[0].path'],
  ['a setuid device', withDevice({ mode: 0o4666 }), 'launch.devices[0].mode'],
  ['no stdio', launched({ stdio: undefined }), 'launch.stdio'],
  [
    'a size without a tty',
    launched({ stdio: { tty: false, stdin: false, columns: 80, rows: 24 } }),
    'launch.stdio.columns',
  ],
  [
    'an exec with masks',
    request({
      $case: 'exec',
      value: { ...exec, hardening: { seccomp: 1, maskedPaths: ['/proc/kcore'], readOnlyPaths: [], sysctls: [] } },
    }),
    'exec.hardening',
  ],
  [
    'signal 0',
    request({ $case: 'signal', value: { container: ID, exec: '', signal: 0, all: false } }),
    'signal.signal',
  ],
  [
    'signal 65',
    request({ $case: 'signal', value: { container: ID, exec: '', signal: 65, all: false } }),
    'signal.signal',
  ],
  [
    'SIGTERM to all',
    request({ $case: 'signal', value: { container: ID, exec: '', signal: 15, all: true } }),
    'signal.all',
  ],
  [
    'an import without bound',
    request({ $case: 'importLayer', value: { diffId: DIGEST, sizeBytesMax: 0n } }),
    'import_layer.size_bytes_max',
  ],
  [
    'a merge of 300 layers',
    request({ $case: 'mergeImage', value: { layers: Array.from({ length: 300 }, () => DIGEST) } }),
    'merge_image.layers',
  ],
];

test.each(BAD)('decodeRequest() refuses %s', (_, message, field) => {
  let caught: unknown;
  try {
    decodeRequest(bytesOf(message));
  } catch (error) {
    caught = error;
  }
  expect(caught).toBeInstanceOf(Malformed);
  expect((caught as Malformed).field).toBe(field);
  expect((caught as Malformed).rule).not.toBe('');
});

const right = bytesOf(request({ $case: 'signal', value: { container: ID, exec: '', signal: 15, all: false } }));
const AMBIGUOUS: [string, Uint8Array][] = [
  ['an unknown field', Buffer.concat([right, Buffer.from([0xfa, 0x01, 0x00])])],
  ['a field twice', Buffer.concat([right, Buffer.from([0x10, 0x02])])],
  ['a default on the wire', Buffer.concat([right, Buffer.from([0x28, 0x00])])],
  ['a second verb', Buffer.concat([right, Buffer.from([0xda, 0x01, 0x00])])],
  ['another order', Buffer.concat([right.subarray(20), right.subarray(0, 20)])],
  ['a long varint', Buffer.concat([right.subarray(0, 18), Buffer.from([0x10, 0x81, 0x00]), right.subarray(20)])],
  ['a group', Buffer.concat([right, Buffer.from([0xfb, 0x01, 0xfc, 0x01])])],
  ['nothing', Buffer.alloc(0)],
  ['65537 bytes', Buffer.alloc(65_537)],
];

test.each(AMBIGUOUS)('decodeRequest() refuses %s', (_, bytes) => {
  expect(() => decodeRequest(bytes)).toThrow(Malformed);
});

test('decodeRequest() refuses text that is not UTF-8', () => {
  const bytes = Buffer.from(right);
  bytes[bytes.indexOf('ada')] = 0xff;
  expect(() => decodeRequest(bytes)).toThrow(Malformed);
});

test('no bytes make decodeRequest() throw anything but Malformed, and what it takes it gives back byte for byte', () => {
  const whole = bytesOf(request({ $case: 'launch', value: launch }));
  const bent = fc
    .tuple(fc.nat({ max: whole.length - 1 }), fc.nat({ max: 255 }), fc.constantFrom('set', 'insert', 'delete', 'cut'))
    .map(([at, byte, how]) => {
      if (how === 'set') return Buffer.concat([whole.subarray(0, at), Buffer.from([byte]), whole.subarray(at + 1)]);
      if (how === 'insert') return Buffer.concat([whole.subarray(0, at), Buffer.from([byte]), whole.subarray(at)]);
      return how === 'delete' ? Buffer.concat([whole.subarray(0, at), whole.subarray(at + 1)]) : whole.subarray(0, at);
    });
  fc.assert(
    fc.property(fc.oneof(bent, fc.uint8Array({ maxLength: 300 })), (bytes) => {
      try {
        expect(Buffer.from(bytesOf(decodeRequest(bytes))).equals(Buffer.from(bytes))).toBe(true);
      } catch (error) {
        if (!(error instanceof Malformed)) throw error;
      }
    }),
    { numRuns: 3000 },
  );
});
