// May this request be done under this profile? Pure and total: allowed means no reasons. Every field of every message has exactly one rule.
import type * as request from '../gen/berth/helper/v1/request.ts';
import { type Ask, all, among, at, atMost, free, judge, type Rules, refuse } from './ask.ts';
import { IMAGE, judgeTrace, LAUNCH } from './launch.ts';
import { limits } from './limits.ts';
import { hardening, PROCESS, STDIO } from './process.ts';
import type { Profile } from './profile.ts';
import type { Seen } from './seen.ts';

const OWNED = 'looked up under the principal';

const EXEC: Rules<request.Exec> = {
  container: (_id, ask) => among(ask, 'hostNamespaces', ask.seen.hostNamespaces),
  id: (_id, ask) => atMost(ask, 'execsMax', ask.seen.execs + 1),
  process: (process, ask) => {
    judge(PROCESS, process, ask);
    judgeTrace(ask, ask.seen.hostNamespaces, process);
  },
  hardening: all(hardening(false)),
  stdio: all(STDIO),
};
const IMPORT_LAYER: Rules<request.ImportLayer> = {
  sizeBytesMax: (size, ask) => {
    atMost(ask, 'layerBytesMax', size);
    atMost(ask, 'layersBytesMax', BigInt(ask.seen.layersBytes) + size);
  },
  ...free('the right to a layer comes with its bytes', 'diffId'),
};

type Verb = NonNullable<request.Request['verb']>;
type Message<Name extends Verb['$case']> = Extract<Verb, { $case: Name }>['value'];

const VERBS: { readonly [Name in Verb['$case']]: Rules<Message<Name>> } = {
  launch: LAUNCH,
  exec: EXEC,
  signal: free(OWNED, 'container', 'exec', 'signal', 'all'),
  pause: free(OWNED, 'container', 'frozen'),
  update: { ...free(OWNED, 'container'), limits: all(limits(false)) },
  remove: free(OWNED, 'container'),
  attach: free(OWNED, 'container', 'exec'),
  importLayer: IMPORT_LAYER,
  mergeImage: IMAGE,
  dropLayer: free(OWNED, 'diffId'),
  dropImage: free(OWNED, 'layers'),
  watch: {},
  forget: free(OWNED, 'container', 'exec'),
};

/** The verbs a profile can name. */
export const VERB_NAMES = Object.keys(VERBS) as readonly Verb['$case'][];

const REQUEST: Rules<request.Request> = {
  ...free('checked by the gate', 'instance', 'sequence', 'principal', 'profile', 'ticket'),
  ...free('asks for less', 'dryRun'),
  verb: (verb, ask) => {
    const here = at(ask, verb?.$case ?? 'request');
    if (verb === undefined) return refuse(here, 'present', ['nothing', 'a verb']);
    among(here, 'verbs', [verb.$case]);
    // The table pairs each verb with the rules of its own message, which the type of a union cannot say.
    return judge(VERBS[verb.$case] as Rules<object>, verb.value, here);
  },
};

/** Why the request is refused; empty where it is allowed. */
export function evaluate(profile: Profile, asked: request.Request, seen: Seen): request.Reason[] {
  const ask: Ask = { profile, seen, field: '', reasons: [] };
  judge(REQUEST, asked, ask);
  return ask.reasons;
}

/** A reason as one line for people. */
export function reasonText(reason: request.Reason): string {
  return `${reason.field}: asked for ${reason.asked}, allowed is ${reason.allowed} (rule ${reason.rule})`;
}
