// What the engine offers to its servers (Docker REST, gRPC): verbs grouped by noun. Types only; make.ts builds the object.
// Every verb throws BerthError for what a person can act on; anything else thrown is a bug.
import type { Readable, Writable } from 'node:stream';
import type { ContainerId } from '../base/brand.ts';
import type {
  ContainerCreateBody,
  ContainerInspect,
  ContainerSummary,
  ExecCreateBody,
  ExecInspect,
  ImageDeleted,
  ImageInspect,
  ImageSummary,
  SystemInfo,
  SystemVersion,
  UpdateBody,
} from '../spec/docker-api.ts';

/** A container as a person names it: full id, unique prefix of one, or name (with or without the leading slash). */
export type Ref = string;

/** 1: standard output (and all of a tty), 2: standard error. */
export type StreamNumber = 1 | 2;

/** Bytes as the container wrote them. `timeNs`: nanoseconds since 1970 at which the engine saw them. */
export type Chunk = { readonly stream: StreamNumber; readonly timeNs: bigint; readonly bytes: Uint8Array };

export type Created = { readonly id: ContainerId; readonly warnings: readonly string[] };

/** `outOfMemory`: the kernel killed a process of the container for memory. */
export type ExitResult = { readonly code: number; readonly outOfMemory: boolean; readonly error: string | undefined };

export type WaitCondition = 'not-running' | 'next-exit' | 'removed';

/** The container is known and the wait has begun when this is there; `exit` answers when the condition holds. */
export type Waiting = { readonly id: ContainerId; readonly exit: Promise<ExitResult> };

export type LogsQuery = {
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly follow: boolean;
  /** Each line begins with its RFC 3339 time and a space, as `docker logs -t`. */
  readonly timestamps: boolean;
  /** Each line begins with its attributes (there are none yet) and a space, as `docker logs --details`. */
  readonly details?: boolean;
  /** Only lines at or after, before or at; undefined: no bound. Nanoseconds since 1970. */
  readonly sinceNs: bigint | undefined;
  readonly untilNs: bigint | undefined;
  /** Number of lines from the end; undefined: all. */
  readonly tail: number | undefined;
};

/** `tty`: raw bytes in one stream, else the caller frames by stream number. Leaving the loop early ends the reading. */
export type Logs = { readonly tty: boolean; readonly chunks: AsyncIterable<Chunk> };

export type AttachQuery = {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** First what was printed before. */
  readonly logs: boolean;
  /** Then what is printed from now on, until the container ends. Without it `output` ends after `logs`. */
  readonly stream: boolean;
};

/** One end of a container's or exec's streams. A container that is only created may be attached to: bytes flow once it starts. */
export type Attachment = {
  readonly tty: boolean;
  /** Ends after the last byte of the process. Leaving the loop early gives up reading; the process runs on. */
  readonly output: AsyncIterable<Chunk>;
  /** Undefined unless asked for and open. write() waits (drain) while the process does not read; end() is the half close. */
  readonly input: Writable | undefined;
  /** Gives the attachment up without ending the process or its standard input (detach keys, a broken connection). */
  readonly close: () => void;
};

export type ListQuery = {
  readonly all: boolean;
  /** The last so many created, running or not; undefined: no bound. */
  readonly limit: number | undefined;
  readonly size: boolean;
  /** Docker's filters: name, id, label, status, exited, ancestor, before, since, volume, network, publish, expose, health. Throws bad_parameter. */
  readonly filters: Readonly<Record<string, readonly string[]>>;
};

export type Containers = {
  /** Throws image_not_found (also for one of another platform than is asked), name_in_use, bad_parameter. `body` is Docker's, not yet checked beyond its types. */
  readonly create: (body: ContainerCreateBody, name: string | undefined, platform?: string) => Promise<Created>;
  /** False: it ran already. Throws launch_failed, not_executable (126), program_not_found (127), helper_refused. */
  readonly start: (ref: Ref) => Promise<boolean>;
  /** False: it did not run. Stop signal, then after the timeout (undefined: the container's own, else 10; -1: never) KILL. */
  readonly stop: (
    ref: Ref,
    more: { readonly timeoutS: number | undefined; readonly signal?: string | undefined },
  ) => Promise<boolean>;
  readonly restart: (
    ref: Ref,
    more: { readonly timeoutS: number | undefined; readonly signal?: string | undefined },
  ) => Promise<void>;
  /** Signal by name (with or without SIG) or number. Throws container_not_running. */
  readonly kill: (ref: Ref, signal: string) => Promise<void>;
  readonly pause: (ref: Ref) => Promise<void>;
  readonly unpause: (ref: Ref) => Promise<void>;
  readonly wait: (ref: Ref, condition: WaitCondition) => Promise<Waiting>;
  readonly remove: (ref: Ref, more: { readonly force: boolean; readonly volumes: boolean }) => Promise<void>;
  readonly rename: (ref: Ref, name: string) => Promise<void>;
  readonly update: (ref: Ref, body: UpdateBody) => Promise<{ readonly warnings: readonly string[] }>;
  readonly list: (query: ListQuery) => Promise<readonly ContainerSummary[]>;
  readonly inspect: (ref: Ref, more: { readonly size: boolean }) => Promise<ContainerInspect>;
  readonly logs: (ref: Ref, query: LogsQuery) => Promise<Logs>;
  readonly attach: (ref: Ref, query: AttachQuery) => Promise<Attachment>;
  readonly resize: (ref: Ref, size: { readonly columns: number; readonly rows: number }) => Promise<void>;
};

export type Execs = {
  /** Throws container_not_running, conflict (paused). */
  readonly create: (ref: Ref, body: ExecCreateBody) => Promise<{ readonly id: string }>;
  /** Undefined when detached. Throws exec_not_found, conflict (started before), not_executable, program_not_found. */
  readonly start: (
    id: string,
    more: { readonly detach: boolean; readonly columns?: number | undefined; readonly rows?: number | undefined },
  ) => Promise<Attachment | undefined>;
  readonly inspect: (id: string) => Promise<ExecInspect>;
  readonly resize: (id: string, size: { readonly columns: number; readonly rows: number }) => Promise<void>;
};

/** One line of Docker's progress stream (`status`, `id`, `progressDetail`, `stream`, `aux`): sent as it is. */
export type Progress = {
  readonly status?: string;
  readonly id?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
  readonly progress?: string;
  readonly stream?: string;
  readonly aux?: Readonly<Record<string, unknown>>;
};

export type RegistryAuth = { readonly username: string; readonly password: string };

export type Images = {
  /** Errors before the first line (unknown image, no access) come from the first next(); later ones end the stream by throwing. */
  readonly pull: (
    reference: string,
    more: { readonly auth: RegistryAuth | undefined; readonly platform: string | undefined },
  ) => AsyncIterable<Progress>;
  /** A tar of `docker save` (all forms) or an OCI layout, plain or compressed. */
  readonly load: (archive: Readable) => AsyncIterable<Progress>;
  readonly list: (query: {
    readonly all: boolean;
    readonly filters: Readonly<Record<string, readonly string[]>>;
  }) => Promise<readonly ImageSummary[]>;
  readonly inspect: (ref: Ref) => Promise<ImageInspect>;
  readonly tag: (ref: Ref, reference: string) => Promise<void>;
  /** Docker's lines, `Untagged` and `Deleted`. Throws image_not_found, image_in_use. */
  readonly remove: (ref: Ref, more: { readonly force: boolean }) => Promise<readonly ImageDeleted[]>;
};

/** Who the helper takes us for. */
export type Identity = {
  readonly uid: number;
  readonly principal: string;
  readonly profile: string;
  readonly profiles: readonly string[];
  readonly keyId: string;
  readonly rootless: boolean;
  /** Undefined while the helper does not answer; `problem` says why then. */
  readonly helper:
    | { readonly version: string; readonly pid: number; readonly keeperPid: number; readonly slot: number }
    | undefined;
  readonly problem: string | undefined;
};

/** One thing `berth doctor` looked at. `fix`: the exact line or command that changes it. */
export type Finding = {
  readonly topic: string;
  readonly level: 'ok' | 'note' | 'bad';
  readonly found: string;
  readonly fix: string | undefined;
};

export type System = {
  readonly info: () => Promise<SystemInfo>;
  readonly version: () => Promise<SystemVersion>;
  readonly whoami: () => Promise<Identity>;
  readonly doctor: () => Promise<readonly Finding[]>;
};

export type ExplainRequest = {
  readonly body: ContainerCreateBody;
  readonly name: string | undefined;
  /** Also ask the helper what it would say. */
  readonly dryRun: boolean;
};

export type RefusalReason = {
  readonly rule: string;
  readonly field: string;
  readonly asked: string;
  readonly allowed: string;
};

export type Explanation = {
  /** The plan in plain words, a line for each operation, with reasons. */
  readonly text: string;
  /** The plan's message as JSON text (bytes as base64, 64-bit numbers as strings). */
  readonly json: string;
  readonly warnings: readonly string[];
  /** Undefined without `dryRun`. */
  readonly decision: { readonly allowed: boolean; readonly reasons: readonly RefusalReason[] } | undefined;
};

/** Docker's event: `type` container or image, `action` create, attach, start, die, kill, oom, … */
export type EngineEvent = {
  readonly type: 'container' | 'image';
  readonly action: string;
  readonly id: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly timeNs: bigint;
};

export type EventQuery = {
  /** Also those kept since then (a bounded number); undefined: from now on. */
  readonly sinceNs: bigint | undefined;
  /** Ends the stream; undefined: it never ends. */
  readonly untilNs: bigint | undefined;
  /** Docker's filters: container, event, image, label, type. */
  readonly filters: Readonly<Record<string, readonly string[]>>;
};

export type Engine = {
  readonly containers: Containers;
  readonly exec: Execs;
  readonly images: Images;
  readonly system: System;
  readonly explain: (request: ExplainRequest) => Promise<Explanation>;
  readonly events: { readonly subscribe: (query: EventQuery) => AsyncIterable<EngineEvent> };
  /** Lets go of the helper, files and database. Containers run on. */
  readonly close: () => Promise<void>;
};
