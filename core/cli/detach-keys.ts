// The keys that leave a container without ending it. Source: moby/term ascii.go and proxy.go.
import { CliError } from './error.ts';

export const DEFAULT_KEYS = 'ctrl-p,ctrl-q';

const NAMED: Readonly<Record<string, number>> = { '@': 0, '[': 27, '\\': 28, ']': 29, '^': 30, _: 31 };

/** Reads `ctrl-p,ctrl-q` or `a,b` into the bytes that are typed; an empty text means that there is no way out. Throws CliError. */
export function readDetachKeys(text: string): readonly number[] {
  if (text === '') return [];
  return text.split(',').map((key) => {
    if (key === 'DEL') return 127;
    if (Buffer.byteLength(key) === 1) return key.charCodeAt(0);
    const letter = /^ctrl-(.)$/.exec(key)?.[1];
    const code = letter === undefined ? undefined : /[a-z]/.test(letter) ? letter.charCodeAt(0) - 96 : NAMED[letter];
    if (code === undefined) throw new CliError(`Invalid detach keys (${text}) provided: Unknown character: '${key}'`);
    return code;
  });
}

/** What of the typed bytes goes on, and whether the keys were typed. Call it with each piece in turn. */
export type KeyFilter = (typed: Buffer) => { readonly pass: Buffer; readonly detach: boolean };

/** Holds back a beginning of the keys until it is clear whether the rest follows. */
export function makeKeyFilter(keys: readonly number[]): KeyFilter {
  let matched = 0;
  return (typed) => {
    const pass: number[] = [];
    for (const byte of typed) {
      if (keys.length > 0 && byte === keys[matched]) {
        matched += 1;
        if (matched === keys.length) return { pass: Buffer.from(pass), detach: true };
        continue;
      }
      pass.push(...keys.slice(0, matched));
      matched = byte === keys[0] ? 1 : 0;
      if (matched === 0) pass.push(byte);
    }
    return { pass: Buffer.from(pass), detach: false };
  };
}
