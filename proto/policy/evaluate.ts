// What a request must be and what it takes of a profile. Pure and total: allowed means no reasons. Every field of every message has exactly one rule.
import type * as request from '../gen/berth/helper/v1/request.ts';
import { any, digest, type Form, id, matching, must, range } from './form.ts';
import { IMAGE, judgeTrace, LAUNCH, layers } from './launch.ts';
import { limits } from './limits.ts';
import { hardening, PROCESS, STDIO } from './process.ts';
import type { Profile } from './profile.ts';
import * as rules from './rules.ts';
import type { Seen } from './seen.ts';

const { among, atMost, both, choice, GATED, inCase, INSIDE, message, OWNED } = rules;
const SIGKILL = 9;
const TICKET_BYTES = 16;

/** A container's first process where it is empty, or an exec of it. */
const execOrFirst: Form<string> = (value, at) => (value === '' ? undefined : id(value, at, value));
const container: rules.Rule<string> = [id, OWNED];

const HARDENING = hardening(false);
const EXEC = message<request.Exec>({
  container: [id, (_id, ask) => among(ask, 'hostNamespaces', ask.seen.hostNamespaces)],
  id: [id, (_id, ask) => atMost(ask, 'execsMax', ask.seen.execs + 1)],
  process: [PROCESS[0], both(PROCESS[1], (process, ask) => judgeTrace(ask, ask.seen.hostNamespaces, process))],
  hardening: [
    both(HARDENING[0], (hardening, at) => {
      const more = [hardening?.maskedPaths, hardening?.readOnlyPaths, hardening?.sysctls].flat();
      must(more.length === 0, at, 'must hold the seccomp profile alone');
    }),
    HARDENING[1],
  ],
  stdio: STDIO,
});
const allOnly: Form<boolean, request.Signal> = (all, at, { signal, exec }) =>
  must(!all || (signal === SIGKILL && exec === ''), at, 'goes with SIGKILL and no exec only');
const IMPORT_LAYER = message<request.ImportLayer>({
  diffId: [digest, INSIDE], // the right to a layer comes with its bytes
  sizeBytesMax: [
    range(1n, 2n ** 43n),
    (size, ask) => {
      atMost(ask, 'layerBytesMax', size);
      atMost(ask, 'layersBytesMax', BigInt(ask.seen.layersBytes) + size);
    },
  ],
});

const VERB = choice<NonNullable<request.Request['verb']>>({
  launch: LAUNCH,
  exec: EXEC,
  signal: message<request.Signal>({
    container,
    exec: [execOrFirst, OWNED],
    signal: [range(1, 64), OWNED],
    all: [allOnly, OWNED],
  }),
  pause: message<request.Pause>({ container, frozen: [any, OWNED] }),
  update: message<request.Update>({ container, limits: limits(false) }),
  remove: message<request.Remove>({ container }),
  attach: message<request.Attach>({ container, exec: [execOrFirst, OWNED] }),
  importLayer: IMPORT_LAYER,
  mergeImage: IMAGE,
  dropLayer: message<request.DropLayer>({ diffId: [digest, OWNED] }),
  dropImage: message<request.DropImage>({ layers: [layers, OWNED] }),
  watch: message<request.Watch>({}),
  forget: message<request.Forget>({ container, exec: [id, OWNED] }),
});

const NAME = matching(
  /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/,
  'a name of at most 64 letters, digits, dots, dashes or underscores',
);
/** The rules of a request: its form, and under an Ask its ceilings. */
export const REQUEST = message<request.Request>({
  instance: [(bytes, at) => must(bytes.length === 16, at, 'must be 16 bytes'), GATED],
  sequence: [range(1n, 2n ** 63n - 1n), GATED],
  principal: [NAME, GATED],
  profile: [NAME, GATED],
  dryRun: [any, GATED],
  verb: [VERB[0], both((verb, ask) => verb && among(inCase(ask, verb), 'verbs', [verb.$case]), VERB[1])],
  ticket: [
    (bytes, at, { verb }) => {
      must([0, TICKET_BYTES].includes(bytes.length), at, 'must be empty or 16 bytes');
      must(bytes.length > 0 || !needsTicket(verb), at, 'must name the descriptors');
    },
    GATED,
  ],
});

function needsTicket(verb: request.Request['verb']): boolean {
  if (verb?.$case !== 'launch') return verb?.$case === 'attach' || verb?.$case === 'importLayer';
  const { root, mounts } = verb.value;
  return root?.source?.$case === 'directory' || mounts.some((mount) => mount.source?.$case === 'bind');
}

/** Why the request is refused; empty where it is allowed. */
export function evaluate(profile: Profile, asked: request.Request, seen: Seen): request.Reason[] {
  const ask: rules.Ask = { profile, seen, path: [], reasons: [] };
  REQUEST[1](asked, ask, undefined);
  return ask.reasons;
}

/** A reason as one line for people. */
export function reasonText(reason: request.Reason): string {
  return `${reason.field}: asked for ${reason.asked}, allowed is ${reason.allowed} (rule ${reason.rule})`;
}
