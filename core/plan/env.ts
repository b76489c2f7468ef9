// The environment: defaults, the image's and the user's variables, in the order in which Docker's come out.
import { type Noted, noted, refuse } from './reason.ts';

/** Where programs are looked for when neither image nor user says. Source: moby, daemon/pkg/oci/defaults.go. */
export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export type EnvAsked = {
  readonly image: readonly string[];
  /** KEY=VALUE; KEY alone takes a variable away. */
  readonly user: readonly string[];
  /** An exec's own, over all others. */
  readonly exec: readonly string[];
  readonly hostname: string;
  readonly tty: boolean;
  readonly home: string;
};

/**
 * KEY=VALUE, each key once: PATH, HOSTNAME, TERM with a tty, then the user's, then the image's others, HOME last.
 * Later ones replace earlier ones in place. Throws bad_parameter for a variable without a name.
 * Source: moby, daemon/commit.go merge, daemon/container/env.go ReplaceOrAppendEnvValues; runc adds HOME where it is not set.
 */
export function planEnv(asked: EnvAsked): Noted<string[]> {
  for (const variable of [...asked.user, ...asked.exec]) checkVariable(variable);
  const env = new Map([['PATH', DEFAULT_PATH]]);
  env.set('HOSTNAME', asked.hostname);
  if (asked.tty) env.set('TERM', 'xterm');
  const taken = new Set(asked.user.map(keyOf));
  apply(env, asked.user);
  apply(
    env,
    asked.image.filter((variable) => !taken.has(keyOf(variable))),
  );
  apply(env, asked.exec);
  if (!env.has('HOME')) env.set('HOME', asked.home);
  return noted(
    [...env].map(([key, value]) => `${key}=${value}`),
    [{ about: 'env', text: 'defaults, then the user, then the image; HOME from passwd unless set' }],
  );
}

/** The value of a variable in a finished environment. */
export function variable(env: readonly string[], key: string): string | undefined {
  return env.find((one) => one.startsWith(`${key}=`))?.slice(key.length + 1);
}

function keyOf(variable: string): string {
  const at = variable.indexOf('=');
  return at < 0 ? variable : variable.slice(0, at);
}

function apply(env: Map<string, string>, variables: readonly string[]): void {
  for (const variable of variables) {
    const key = keyOf(variable);
    if (key === '') continue; // an image's own nonsense; a user's was refused
    if (variable.includes('=')) env.set(key, variable.slice(key.length + 1));
    else env.delete(key);
  }
}

function checkVariable(variable: string): void {
  if (keyOf(variable) === '') refuse(`invalid environment variable: ${variable}`);
  if (variable.includes('\0')) refuse(`invalid environment variable: ${keyOf(variable)}: it holds a NUL byte`);
}
