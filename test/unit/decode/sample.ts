// A launch and an exec that are right in every field: what tests of decoding, policy and lowering bend.
import {
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
} from '../../../proto/abi/sched.gen.ts';
import {
  GeneratedName,
  KernelFilesystem,
  Knob,
  type Launch,
  type Mount,
  type Process,
  Propagation,
  Resource,
  Seccomp,
  ThrottleKind,
} from '../../../proto/gen/berth/helper/v1/plan.ts';
import { type Exec, Request } from '../../../proto/gen/berth/helper/v1/request.ts';

export const ID = 'a'.repeat(64);
export const OTHER = 'b'.repeat(64);
export const DIGEST = `sha256:${'c'.repeat(64)}`;
const CAPS = 0xa80425fbn;

export const process_: Process = {
  argv: ['sh', '-c', 'true'],
  env: ['PATH=/bin'],
  executables: ['/bin/sh'],
  cwd: '/',
  uid: 0,
  gid: 0,
  groups: [10],
  rlimits: [{ resource: Resource.RESOURCE_NOFILE, soft: 1024n, hard: 4096n }],
  capabilities: { bounding: CAPS, effective: CAPS, permitted: CAPS, inheritable: 0n, ambient: 0n },
  noNewPrivileges: false,
  oomScoreAdj: 0,
  umask: 0o22,
};

function mount(source: NonNullable<Mount['source']>, target: string): Mount {
  return { source, target, readOnly: false, noSuid: true, noDev: true, noExec: true };
}

export const launch: Launch = {
  id: ID,
  root: { source: { $case: 'image', value: { layers: [DIGEST] } }, readOnly: false },
  mounts: [
    mount({ $case: 'kernel', value: { filesystem: KernelFilesystem.KERNEL_FILESYSTEM_PROC } }, '/proc'),
    mount({ $case: 'kernel', value: { filesystem: KernelFilesystem.KERNEL_FILESYSTEM_DEV } }, '/dev'),
    mount({ $case: 'tmpfs', value: { sizeBytes: 65536n, mode: 0o1777, uid: 0, gid: 0 } }, '/dev/shm'),
    mount(
      { $case: 'file', value: { name: GeneratedName.GENERATED_NAME_HOSTNAME, content: Buffer.from('box\n') } },
      '/etc/hostname',
    ),
    mount(
      {
        $case: 'bind',
        value: { descriptor: 0, recursive: true, file: false, propagation: Propagation.PROPAGATION_PRIVATE },
      },
      '/data',
    ),
  ],
  process: process_,
  namespaces: {
    unshare: BigInt((CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET) >>> 0),
    join: [],
    uidCount: 65536n,
  },
  hostname: 'box',
  domainname: '',
  limits: {
    settings: [{ knob: Knob.KNOB_MEMORY_MAX_BYTES, value: 67108864n }],
    throttles: [{ major: 8, minor: 0, kind: ThrottleKind.THROTTLE_KIND_READ_BPS, value: 1000n }],
    cpus: '0-1',
    mems: '',
    deviceRules: [{ block: false, major: 10n, minor: -1n, read: true, write: true, mknod: false }],
  },
  hardening: {
    seccomp: Seccomp.SECCOMP_DEFAULT,
    maskedPaths: ['/proc/kcore'],
    readOnlyPaths: ['/proc/sys'],
    sysctls: [{ name: 'net.ipv4.ip_forward', value: '0' }],
  },
  devices: [{ path: 'null', block: false, major: 1, minor: 3, mode: 0o666, uid: 0, gid: 0 }],
  init: false,
  stdio: { tty: false, stdin: false, columns: 0, rows: 0 },
};

export const exec: Exec = {
  container: ID,
  id: OTHER,
  process: process_,
  hardening: { seccomp: Seccomp.SECCOMP_DEFAULT, maskedPaths: [], readOnlyPaths: [], sysctls: [] },
  stdio: { tty: true, stdin: true, columns: 80, rows: 24 },
};

/** A request of the verb. */
export function request(verb: NonNullable<Request['verb']>): Request {
  return {
    instance: Buffer.alloc(16, 1),
    sequence: 1n,
    principal: 'ada',
    profile: 'default',
    dryRun: false,
    ticket: Buffer.alloc(16, 2),
    verb,
  };
}

export function bytesOf(message: Request): Uint8Array {
  return Request.encode(message).finish();
}
