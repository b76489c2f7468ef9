// Bytes to a checked, frozen request. The bytes that were signed are the bytes that are judged: a request has exactly one encoding, and any
// other one (unknown or repeated fields, long varints, defaults on the wire, another order) is refused.
import { Request } from '../../proto/gen/berth/helper/v1/request.ts';
import { unreachable } from '../../core/base/brand.ts';
import { decodeCanonical } from './canonical.ts';
import type { CheckedRequest } from './checked.ts';
import { checkDigest, checkId, checkLayers, checkRange, present } from './fields.ts';
import { checkHardening, checkLaunch } from './launch.ts';
import { checkLimits } from './limits.ts';
import { must } from './malformed.ts';
import { checkProcess, checkStdio } from './process.ts';

export const REQUEST_BYTES_MAX = 65_536;
const SIGKILL = 9;

/** The request that the bytes are; throws Malformed naming field and rule for all that is none. */
export function decodeRequest(bytes: Uint8Array): CheckedRequest {
  must(bytes.length <= REQUEST_BYTES_MAX, 'request', `must be at most ${REQUEST_BYTES_MAX} bytes`);
  const request = decodeCanonical(Request, bytes, 'request');
  must(request.instance.length === 16, 'instance', 'must be 16 bytes');
  checkRange(request.sequence, 'sequence', [1n, 2n ** 63n - 1n]);
  for (const name of ['principal', 'profile'] as const) {
    must(
      /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/.test(request[name]),
      name,
      'must be a name of at most 64 letters, digits, dots, dashes or underscores',
    );
  }
  must(request.ticket.length === 0 || request.ticket.length === 16, 'ticket', 'must be empty or 16 bytes');
  checkVerb(request);
  return freeze(request) as CheckedRequest;
}

function checkVerb(request: Request): void {
  const verb = present(request.verb, 'verb');
  switch (verb.$case) {
    case 'launch':
      checkLaunch(verb.value, 'launch');
      must(request.ticket.length > 0 || !usesDescriptors(verb.value), 'ticket', 'must name the descriptors');
      return;
    case 'exec':
      checkId(verb.value.container, 'exec.container');
      checkId(verb.value.id, 'exec.id');
      checkProcess(present(verb.value.process, 'exec.process'), 'exec.process');
      checkExecHardening(present(verb.value.hardening, 'exec.hardening'));
      checkStdio(present(verb.value.stdio, 'exec.stdio'), 'exec.stdio');
      return;
    case 'signal':
      checkTarget(verb.value, 'signal');
      checkRange(verb.value.signal, 'signal.signal', [1, 64]);
      must(
        !verb.value.all || (verb.value.signal === SIGKILL && verb.value.exec === ''),
        'signal.all',
        'goes with SIGKILL and no exec only',
      );
      return;
    case 'update':
      checkId(verb.value.container, 'update.container');
      checkLimits(present(verb.value.limits, 'update.limits'), 'update.limits');
      return;
    case 'pause':
    case 'remove':
      checkId(verb.value.container, `${verb.$case}.container`);
      return;
    case 'attach':
      checkTarget(verb.value, 'attach');
      must(request.ticket.length > 0, 'ticket', 'must be given');
      return;
    case 'forget':
      checkId(verb.value.container, 'forget.container');
      checkId(verb.value.exec, 'forget.exec');
      return;
    case 'importLayer':
      checkDigest(verb.value.diffId, 'import_layer.diff_id');
      checkRange(verb.value.sizeBytesMax, 'import_layer.size_bytes_max', [1n, 2n ** 43n]);
      must(request.ticket.length > 0, 'ticket', 'must be given');
      return;
    case 'mergeImage':
      checkLayers(verb.value.layers, 'merge_image.layers');
      return;
    case 'dropLayer':
      checkDigest(verb.value.diffId, 'drop_layer.diff_id');
      return;
    case 'dropImage':
      checkLayers(verb.value.layers, 'drop_image.layers');
      return;
    case 'watch':
      return;
    default:
      unreachable(verb);
  }
}

/** A container's first process, or an exec of it. */
function checkTarget(target: { readonly container: string; readonly exec: string }, field: string): void {
  checkId(target.container, `${field}.container`);
  if (target.exec !== '') checkId(target.exec, `${field}.exec`);
}

function checkExecHardening(hardening: Parameters<typeof checkHardening>[0]): void {
  checkHardening(hardening, 'exec.hardening');
  const alone = hardening.maskedPaths.length + hardening.readOnlyPaths.length + hardening.sysctls.length === 0;
  must(alone, 'exec.hardening', 'must hold the seccomp profile alone');
}

function usesDescriptors(launch: Parameters<typeof checkLaunch>[0]): boolean {
  return launch.root?.source?.$case === 'directory' || launch.mounts.some((mount) => mount.source?.$case === 'bind');
}

/** Freezes a message and all beneath it. Byte arrays cannot be frozen; nothing of the helper writes to them. */
function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  for (const field of Object.values(value)) freeze(field);
  return Object.freeze(value);
}
