// The user's settings and registry logins: Docker's own file, so that a login made by either client serves both.
// Source: docker/cli 28.2, cli/config/configfile/file.go.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CliError } from './error.ts';

export type Config = {
  readonly auths?: Readonly<
    Record<string, { readonly auth?: string; readonly username?: string; readonly password?: string }>
  >;
  readonly detachKeys?: string;
  readonly psFormat?: string;
  readonly imagesFormat?: string;
};

/** Reads `config.json` of DOCKER_CONFIG, else of ~/.docker; no file is no settings. Throws CliError when it is not JSON. */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const dir = env['DOCKER_CONFIG'] || (env['HOME'] ? join(env['HOME'], '.docker') : undefined);
  if (dir === undefined) return {};
  const path = join(dir, 'config.json');
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'EACCES' || code === 'ENOTDIR') return {};
    throw error;
  }
  try {
    return JSON.parse(text) as Config;
  } catch (error) {
    throw new CliError(
      `${path} is not JSON: ${error instanceof Error ? error.message : String(error)}; correct or remove it`,
    );
  }
}

/** The `X-Registry-Auth` header for a registry, from the logins of the file; undefined when there is none. */
export function registryAuth(config: Config, registry: string): string | undefined {
  const names =
    registry === 'docker.io'
      ? ['https://index.docker.io/v1/', 'docker.io', 'index.docker.io']
      : [registry, `https://${registry}`, `http://${registry}`];
  const found = names.map((name) => config.auths?.[name]).find((one) => one !== undefined);
  if (found === undefined) return undefined;
  const [user = '', ...rest] = Buffer.from(found.auth ?? '', 'base64')
    .toString()
    .split(':');
  const login = {
    username: found.username ?? user,
    password: found.password ?? rest.join(':'),
    serveraddress: registry,
  };
  return Buffer.from(JSON.stringify(login)).toString('base64url');
}
