// Texts of images, registries and strangers on somebody's terminal.

/** Control and formatting characters but line feeds and tabs. */
const HIDDEN = /[^\P{C}\n\t]|[\u2028\u2029]/gu;

const hex = (code: number, digits: number): string => code.toString(16).padStart(digits, '0');

/** The text with every control and formatting character but line feeds and tabs as Go writes it: `\x1b`, `\u009b`. */
export function printable(text: string): string {
  return text.replace(HIDDEN, (one) => {
    const code = one.codePointAt(0) ?? 0;
    return code < 0x80 ? `\\x${hex(code, 2)}` : `\\u${hex(code, 4)}`;
  });
}

/** The same for a text of JSON, which stays that. */
export function printableJson(json: string): string {
  return json.replace(HIDDEN, (one) =>
    Array.from({ length: one.length }, (_, i) => `\\u${hex(one.charCodeAt(i), 4)}`).join(''),
  );
}
