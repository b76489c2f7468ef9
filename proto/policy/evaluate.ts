// What a request must be and what it takes of a profile. Pure and total: allowed means no reasons. Every field of every message has exactly one rule.
import type * as request from '../gen/berth/helper/v1/request.ts';
import { any, both, digest, type Form, id, matching, must, range } from './form.ts';
import { IMAGE, judgeTrace, LAUNCH, layers } from './launch.ts';
import { LIMITS } from './limits.ts';
import { HARDENING, PROCESS, STDIO } from './process.ts';
import type { Profile } from './profile.ts';
import { type Ask, among, atMost, type Ceiling, choice, inCase } from './rules.ts';
import { GATED, INSIDE, message, OWNED, type Rule } from './rules.ts';
import type { Seen } from './seen.ts';

type Verb = request.Request['verb'];
const SIGKILL = 9;
const TICKET_BYTES = 16;

const container: Rule<string> = [id, OWNED];
/** A container's first process where it is empty, or an exec of it. */
const exec: Rule<string> = [(value, at) => (value === '' ? undefined : id(value, at, value)), OWNED];

const judgeTracing: Ceiling<request.Exec['process']> = (process, ask) =>
  judgeTrace(ask, ask.seen.hostNamespaces, process);
const seccompAlone: Form<request.Exec['hardening']> = (hardening, at) => {
  const more = [hardening?.maskedPaths, hardening?.readOnlyPaths, hardening?.sysctls].flat();
  must(more.length === 0, at, 'must hold the seccomp profile alone');
};
const EXEC = message<request.Exec>({
  container: [id, (_id, ask) => among(ask, 'hostNamespaces', ask.seen.hostNamespaces)],
  id: [id, (_id, ask) => atMost(ask, 'execsMax', ask.seen.execs + 1)],
  process: [PROCESS[0], both(PROCESS[1], judgeTracing)],
  hardening: [both(HARDENING[0], seccompAlone), HARDENING[1]],
  stdio: STDIO,
});
const killsAll: Form<boolean, request.Signal> = (all, at, { signal, exec }) =>
  must(!all || (signal === SIGKILL && exec === ''), at, 'goes with SIGKILL and no exec only');
const judgeSize: Ceiling<bigint> = (size, ask) => {
  atMost(ask, 'layerBytesMax', size);
  atMost(ask, 'layersBytesMax', BigInt(ask.seen.layersBytes) + size);
};

const VERB = choice<NonNullable<Verb>>({
  launch: LAUNCH,
  exec: EXEC,
  signal: message<request.Signal>({ container, exec, signal: [range(1, 64), OWNED], all: [killsAll, OWNED] }),
  pause: message<request.Pause>({ container, frozen: [any, OWNED] }),
  update: message<request.Update>({ container, limits: LIMITS }),
  remove: message<request.Remove>({ container }),
  attach: message<request.Attach>({ container, exec }),
  // The right to a layer comes with its bytes.
  importLayer: message<request.ImportLayer>({
    diffId: [digest, INSIDE],
    sizeBytesMax: [range(1n, 2n ** 43n), judgeSize],
  }),
  mergeImage: IMAGE,
  dropLayer: message<request.DropLayer>({ diffId: [digest, OWNED] }),
  dropImage: message<request.DropImage>({ layers: [layers, OWNED] }),
  watch: message<request.Watch>({}),
  forget: message<request.Forget>({ container, exec: [id, OWNED] }),
});
const judgeVerb: Ceiling<Verb> = (verb, ask) => verb && among(inCase(ask, verb), 'verbs', [verb.$case]);

const name = matching(/^\w[\w.-]{0,63}$/, 'a name of at most 64 letters, digits, dots, dashes or underscores');
const ticketed: Form<Uint8Array, request.Request> = (bytes, at, { verb }) => {
  must([0, TICKET_BYTES].includes(bytes.length), at, 'must be empty or 16 bytes');
  must(bytes.length > 0 || !needsTicket(verb), at, 'must name the descriptors');
};
/** The rules of a request: its form, and under an Ask its ceilings. */
export const REQUEST = message<request.Request>({
  instance: [(bytes, at) => must(bytes.length === 16, at, 'must be 16 bytes'), GATED],
  sequence: [range(1n, 2n ** 63n - 1n), GATED],
  ...{ principal: [name, GATED], profile: [name, GATED], dryRun: [any, GATED] },
  verb: [VERB[0], both(judgeVerb, VERB[1])],
  ticket: [ticketed, GATED],
});

function needsTicket(verb: Verb): boolean {
  if (verb?.$case !== 'launch') return verb?.$case === 'attach' || verb?.$case === 'importLayer';
  const { root, mounts } = verb.value;
  return root?.source?.$case === 'directory' || mounts.some((mount) => mount.source?.$case === 'bind');
}

/** Why the request is refused; empty where it is allowed. */
export function evaluate(profile: Profile, asked: request.Request, seen: Seen): request.Reason[] {
  const ask: Ask = { profile, seen, whole: asked.verb?.$case === 'launch', path: [], reasons: [] };
  REQUEST[1](asked, ask, undefined);
  return ask.reasons;
}

/** A reason as one line for people. */
export function reasonText(reason: request.Reason): string {
  return `${reason.field}: asked for ${reason.asked}, allowed is ${reason.allowed} (rule ${reason.rule})`;
}
