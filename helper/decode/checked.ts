// The types of a request whose every field was checked: what the generated types call optional is present here. Frozen all the way down.
import type {
  BindMount,
  Capabilities,
  DirectoryRoot,
  GeneratedFile,
  ImageRoot,
  KernelMount,
  Launch,
  Limits,
  Mount,
  Namespaces,
  Process,
  Root,
  Stdio,
  TmpfsMount,
} from '../../proto/gen/berth/helper/v1/plan.ts';
import type { Exec, Request, Update } from '../../proto/gen/berth/helper/v1/request.ts';

export type CheckedRoot = Root & {
  readonly source:
    | { readonly $case: 'image'; readonly value: ImageRoot }
    | { readonly $case: 'directory'; readonly value: DirectoryRoot };
};
export type MountSource =
  | { readonly $case: 'bind'; readonly value: BindMount }
  | { readonly $case: 'tmpfs'; readonly value: TmpfsMount }
  | { readonly $case: 'kernel'; readonly value: KernelMount }
  | { readonly $case: 'file'; readonly value: GeneratedFile };
export type CheckedMount = Mount & { readonly source: MountSource };
export type CheckedProcess = Process & { readonly capabilities: Capabilities };
export type Hardened = NonNullable<Launch['hardening']>;

export type CheckedLaunch = Launch & {
  readonly root: CheckedRoot;
  readonly mounts: readonly CheckedMount[];
  readonly process: CheckedProcess;
  readonly namespaces: Namespaces;
  readonly limits: Limits;
  readonly hardening: Hardened;
  readonly stdio: Stdio;
};
/** An exec's hardening is its seccomp profile alone: masks and sysctls belong to the container. */
export type CheckedExec = Exec & {
  readonly process: CheckedProcess;
  readonly hardening: Hardened;
  readonly stdio: Stdio;
};
export type CheckedUpdate = Update & { readonly limits: Limits };

type AnyVerb = NonNullable<Request['verb']>;
export type CheckedVerb =
  | { readonly $case: 'launch'; readonly value: CheckedLaunch }
  | { readonly $case: 'exec'; readonly value: CheckedExec }
  | { readonly $case: 'update'; readonly value: CheckedUpdate }
  | Exclude<AnyVerb, { $case: 'launch' | 'exec' | 'update' }>;
export type CheckedRequest = Request & { readonly verb: CheckedVerb };
