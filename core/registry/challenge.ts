// What a registry wants to see before it answers: the WWW-Authenticate header. Source: RFC 9110, 11.6.1; distribution's token spec.

export type Challenge = { readonly scheme: string; readonly params: Readonly<Record<string, string>> };

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const PARAM = new RegExp(`^\\s*(${TOKEN})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|(${TOKEN}))\\s*(?:,|$)`);
const SCHEME = new RegExp(`^[\\s,]*(${TOKEN})(?:\\s+|$|,)`);

/** All challenges of the header's values, with scheme and parameter names in lower case; what cannot be read is left out. */
export function parseChallenges(values: readonly string[]): readonly Challenge[] {
  return values.flatMap((value) => parseOne(value.slice(0, 8192)));
}

function parseOne(value: string): Challenge[] {
  const found: Challenge[] = [];
  let rest = value;
  for (;;) {
    const scheme = SCHEME.exec(rest);
    if (scheme === null) return found;
    rest = rest.slice(scheme[0].length);
    const params = new Map<string, string>();
    for (let param = PARAM.exec(rest); param !== null; param = PARAM.exec(rest)) {
      params.set((param[1] ?? '').toLowerCase(), param[3] ?? (param[2] ?? '').replace(/\\(.)/g, '$1'));
      rest = rest.slice(param[0].length);
    }
    found.push({ scheme: (scheme[1] ?? '').toLowerCase(), params: Object.fromEntries(params) });
  }
}
