// What is wrong with a compiled file, as a value: for those who write them and say where. The helper only takes them or does not.
import type { Problem } from './compiled.ts';
import { type Form, Malformed } from './form.ts';
import { POLICY, PRINCIPAL } from './schema.ts';

/** What is wrong with a policy; undefined where nothing is. */
export function policyProblem(value: unknown): Problem | undefined {
  return problemOf(POLICY, value);
}

/** What is wrong with a principal; undefined where nothing is. */
export function principalProblem(value: unknown): Problem | undefined {
  return problemOf(PRINCIPAL, value);
}

function problemOf(form: Form<unknown>, value: unknown): Problem | undefined {
  try {
    form(value, { path: [] }, undefined);
    return undefined;
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return { path: error.path, message: error.rule };
  }
}
