// Bytes to a checked, frozen request. The bytes that were signed are the bytes that are judged: a request has exactly one encoding, and any
// other one (unknown or repeated fields, long varints, defaults on the wire, another order) is refused.
import * as request from '../../proto/gen/berth/helper/v1/request.ts';
import { decodeCanonical } from './canonical.ts';
import type { CheckedRequest } from './checked.ts';
import { any, choice, digest, id, layers, matching, message, type Rule, range } from './fields.ts';
import { HARDENING, checkLaunch } from './launch.ts';
import { LIMITS } from './limits.ts';
import { must } from './malformed.ts';
import { PROCESS, STDIO } from './process.ts';

export const REQUEST_BYTES_MAX = 65_536;
const SIGKILL = 9;
const TICKET_BYTES = 16;

/** A container's first process where it is empty, or an exec of it. */
const execOrFirst: Rule<string> = (value, field) => (value === '' ? undefined : id(value, field));

const EXEC = message<request.Exec>(
  { container: id, id, process: PROCESS, hardening: HARDENING, stdio: STDIO },
  ({ hardening }, field) => {
    const more = [hardening?.maskedPaths, hardening?.readOnlyPaths, hardening?.sysctls].flat();
    must(more.length === 0, `${field}.hardening`, 'must hold the seccomp profile alone');
  },
);
const SIGNAL = message<request.Signal>(
  { container: id, exec: execOrFirst, signal: range(1, 64), all: any },
  ({ all, signal, exec }, field) =>
    must(!all || (signal === SIGKILL && exec === ''), `${field}.all`, 'goes with SIGKILL and no exec only'),
);

const VERB = choice<NonNullable<request.Request['verb']>>({
  launch: checkLaunch,
  exec: EXEC,
  signal: SIGNAL,
  pause: message<request.Pause>({ container: id, frozen: any }),
  update: message<request.Update>({ container: id, limits: LIMITS }),
  remove: message<request.Remove>({ container: id }),
  attach: message<request.Attach>({ container: id, exec: execOrFirst }),
  importLayer: message<request.ImportLayer>({ diffId: digest, sizeBytesMax: range(1n, 2n ** 43n) }),
  mergeImage: message<request.MergeImage>({ layers }),
  dropLayer: message<request.DropLayer>({ diffId: digest }),
  dropImage: message<request.DropImage>({ layers }),
  watch: any,
  forget: message<request.Forget>({ container: id, exec: id }),
});

const name = matching(
  /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/,
  'a name of at most 64 letters, digits, dots, dashes or underscores',
);
const REQUEST = message<request.Request>(
  {
    instance: (bytes, field) => must(bytes.length === 16, field, 'must be 16 bytes'),
    sequence: range(1n, 2n ** 63n - 1n),
    principal: name,
    profile: name,
    dryRun: any,
    ticket: (bytes, field) => must([0, TICKET_BYTES].includes(bytes.length), field, 'must be empty or 16 bytes'),
    verb: VERB,
  },
  ({ ticket, verb }) => must(ticket.length > 0 || !needsTicket(verb), 'ticket', 'must name the descriptors'),
);

/** The request that the bytes are; throws Malformed naming field and rule for all that is none. */
export function decodeRequest(bytes: Uint8Array): CheckedRequest {
  must(bytes.length <= REQUEST_BYTES_MAX, 'request', `must be at most ${REQUEST_BYTES_MAX} bytes`);
  const decoded = decodeCanonical(request.Request, bytes, 'request');
  REQUEST(decoded, '');
  return freeze(decoded) as CheckedRequest;
}

function needsTicket(verb: request.Request['verb']): boolean {
  if (verb?.$case !== 'launch') return verb?.$case === 'attach' || verb?.$case === 'importLayer';
  const { root, mounts } = verb.value;
  return root?.source?.$case === 'directory' || mounts.some((mount) => mount.source?.$case === 'bind');
}

/** Freezes a message and all beneath it. Byte arrays cannot be frozen; nothing of the helper writes to them. */
function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  for (const field of Object.values(value)) freeze(field);
  return Object.freeze(value);
}
