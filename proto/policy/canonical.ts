// The one text of a JSON value: what compiled files and audit records are written in, so that equal values are equal bytes.

/** The one text of a value: keys in order, no space, a line's end. */
export function canonicalJson(value: unknown): string {
  const sort = (_key: string, one: unknown): unknown =>
    typeof one === 'object' && one !== null && !Array.isArray(one)
      ? Object.fromEntries(Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1)))
      : one;
  return `${JSON.stringify(value, sort)}\n`;
}
