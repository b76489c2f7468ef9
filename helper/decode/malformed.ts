// Why bytes are not a request: the field and the rule it breaks, for people and tests.

/** A request that no policy could allow, because it is not one. */
export class Malformed extends Error {
  readonly field: string;
  readonly rule: string;
  constructor(field: string, rule: string) {
    super(`${field}: ${rule}`);
    this.field = field;
    this.rule = rule;
  }
}

/** Throws Malformed for the field unless it holds to the rule. */
export function must(held: boolean, field: string, rule: string): asserts held {
  if (!held) throw new Malformed(field, rule);
}
