// Checks of single fields that several verbs share. Each throws Malformed naming the field.
import { asContainerId, asDigest } from '../../core/base/brand.ts';
import { Malformed, must } from './malformed.ts';

export const PATH_BYTES_MAX = 4096;
export const LAYERS_MAX = 256;
export const DESCRIPTORS_MAX = 200;

const utf8 = new TextEncoder();

/** Text that goes to the kernel as a C string. */
export function checkText(text: string, field: string, bytesMax: number): void {
  must(!text.includes('\0'), field, 'must not hold a NUL');
  const fits = text.length * 3 <= bytesMax || utf8.encode(text).length <= bytesMax;
  must(fits, field, `must be at most ${bytesMax} bytes`);
}

/** A path inside the container: absolute, without empty, `.` and `..` components. */
export function checkPath(path: string, field: string): void {
  checkText(path, field, PATH_BYTES_MAX - 1);
  must(path.startsWith('/'), field, 'must be an absolute path');
  if (path === '/') return;
  for (const part of path.slice(1).split('/')) {
    must(part !== '' && part !== '.' && part !== '..', field, 'must be normalised: no empty, `.` or `..` component');
    checkText(part, field, 255);
  }
}

export function checkId(id: string, field: string): void {
  must(asContainerId(id) !== undefined, field, 'must be 64 lowercase hexadecimal digits');
}

export function checkDigest(digest: string, field: string): void {
  must(asDigest(digest) !== undefined, field, 'must be sha256: and 64 lowercase hexadecimal digits');
}

/** The layers of an image, topmost first. The same layer may come twice: images with several empty layers do that. */
export function checkLayers(layers: readonly string[], field: string): void {
  must(layers.length >= 1 && layers.length <= LAYERS_MAX, field, `must be 1 to ${LAYERS_MAX} layers`);
  for (const [i, layer] of layers.entries()) checkDigest(layer, `${field}[${i}]`);
}

export function checkRange(
  value: number | bigint,
  field: string,
  range: readonly [number | bigint, number | bigint],
): void {
  must(value >= range[0] && value <= range[1], field, `must be ${range[0]} to ${range[1]}`);
}

/** An enum's number: one the .proto names, not 0. */
export function checkEnum(value: number, field: string, known: Readonly<Record<string, number>>): void {
  must(value > 0 && Object.values(known).includes(value), field, 'must be one of the values of its enum');
}

/** Every element's key at most once. */
export function checkUnique(keys: readonly (string | number | bigint)[], field: string): void {
  must(new Set(keys).size === keys.length, field, 'must not name the same thing twice');
}

/** The field's message, which must be there. */
export function present<T>(message: T | undefined, field: string): T {
  if (message === undefined) throw new Malformed(field, 'must be present');
  return message;
}
