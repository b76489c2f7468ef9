// A launch and an exec that the default profile allows, and ways to change one thing of them.
import { DEFAULT_PROFILE, type Profile } from '../../../proto/policy/profile.ts';
import type { Seen, SeenFile } from '../../../proto/policy/seen.ts';
import { evaluate } from '../../../proto/policy/evaluate.ts';
import * as plan from '../../../proto/gen/berth/helper/v1/plan.ts';
import type { Request } from '../../../proto/gen/berth/helper/v1/request.ts';

export const ID = 'a'.repeat(64);
export const ALL_NAMESPACES = 0x7e02_0080n;
export const NEWNET = 0x4000_0000n;
export const NEWUSER = 0x1000_0000n;
type Verb = NonNullable<Request['verb']>;

export const process: plan.Process = {
  ...{ argv: ['sh'], env: [], executables: ['/bin/sh'], cwd: '/', uid: 0, gid: 0, groups: [], rlimits: [] },
  capabilities: { bounding: 0xa80425fbn, effective: 0xa80425fbn, permitted: 0xa80425fbn, inheritable: 0n, ambient: 0n },
  ...{ noNewPrivileges: false, oomScoreAdj: 0, umask: 0o22 },
};
export const hardening: plan.Hardening = {
  seccomp: plan.Seccomp.SECCOMP_DEFAULT,
  maskedPaths: [],
  readOnlyPaths: [],
  sysctls: [],
};
export const limits: plan.Limits = { settings: [], throttles: [], cpus: '', mems: '', deviceRules: [] };
export const stdio: plan.Stdio = { tty: false, stdin: false, columns: 0, rows: 0 };
export const launch: plan.Launch = {
  id: ID,
  root: { source: { $case: 'image', value: { layers: [`sha256:${ID}`] } }, readOnly: false },
  mounts: [],
  process,
  namespaces: { unshare: ALL_NAMESPACES, join: [], uidCount: 65_536n },
  hostname: 'x',
  domainname: '',
  limits,
  hardening,
  devices: [{ path: 'null', block: false, major: 1, minor: 3, mode: 0o666, uid: 0, gid: 0 }],
  init: false,
  stdio,
};

export function asRequest(verb: Request['verb']): Request {
  const none = Buffer.alloc(16);
  return { instance: none, sequence: 1n, principal: 'alice', profile: 'default', dryRun: false, ticket: none, verb };
}

export function launched(more: Partial<plan.Launch>): Verb {
  return { $case: 'launch', value: { ...launch, ...more } };
}

export function bound(more: Partial<plan.BindMount> = {}, readOnly = false): Partial<plan.Launch> {
  const bind = {
    descriptor: 0,
    recursive: true,
    file: false,
    propagation: plan.Propagation.PROPAGATION_PRIVATE,
    ...more,
  };
  return {
    mounts: [
      { source: { $case: 'bind', value: bind }, target: '/x', readOnly, noSuid: false, noDev: false, noExec: false },
    ],
  };
}

export function file(path: string, more: Partial<SeenFile> = {}): SeenFile {
  const numbers = { device: 1n, inode: 2n, mountId: 3n, fsType: 0xef53, uid: 1000, gid: 1000, mode: 0o40755 };
  return { path, isDirectory: true, ...numbers, ...more };
}

export function seen(more: Partial<Seen> = {}): Seen {
  return { uid: 1000, files: [], own: [], hostNamespaces: [], containers: 0, execs: 0, layersBytes: 0, ...more };
}

export type Asked = {
  readonly verb: Request['verb'];
  readonly profile?: Partial<Profile>;
  readonly seen?: Partial<Seen>;
};

/** The reasons, each as `rule field: asked / allowed`. */
export function judged(asked: Asked): string[] {
  const reasons = evaluate({ ...DEFAULT_PROFILE, ...asked.profile }, asRequest(asked.verb), seen(asked.seen));
  return reasons.map(({ rule, field, asked: what, allowed }) => `${rule} ${field}: ${what} / ${allowed}`);
}
