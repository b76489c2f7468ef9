// The types of a request whose every field was checked: what the generated types call optional is present here. Frozen all the way down.
import type { Hardening, Launch, Mount, Process } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { Exec, Request, Update } from '../../proto/gen/berth/helper/v1/request.ts';

/** A message with every field present, and so all beneath it. */
export type Checked<T> = T extends Uint8Array | string | number | bigint | boolean
  ? T
  : T extends readonly (infer Element)[]
    ? readonly Checked<Element>[]
    : { readonly [K in keyof T]: Checked<NonNullable<T[K]>> };

export type CheckedRequest = Checked<Request>;
export type CheckedVerb = CheckedRequest['verb'];
export type CheckedLaunch = Checked<Launch>;
export type CheckedMount = Checked<Mount>;
export type CheckedProcess = Checked<Process>;
/** An exec's hardening is its seccomp profile alone: masks and sysctls belong to the container. */
export type CheckedExec = Checked<Exec>;
export type CheckedUpdate = Checked<Update>;
export type Hardened = Hardening;
export type MountSource = CheckedMount['source'];
