// `berth create`, and what `run` shares with it: files named by flags are read here, a missing image is pulled.
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { Client, CreateAsk } from '../client/client.ts';
import { ApiError } from '../client/error.ts';
import { parsePlatform } from '../spec/platform.ts';
import { readReference } from '../spec/reference.ts';
import { type Given, isOn, listOf, textOf } from './command.ts';
import { absolute, containerBody, pairs } from './container-body.ts';
import { readEnvFile, resolveEnv } from './env-file.ts';
import { CliError } from './error.ts';
import { complain, daemonText } from './failure.ts';
import type { Session } from './session.ts';

/** `berth create [OPTIONS] IMAGE …`: prints the id. */
export async function createContainer(session: Session, given: Given): Promise<number> {
  const body = readBody(session, given, 'create');
  const client = await session.client();
  const id = await makeContainer(session, { client, given, body });
  session.stdout.write(`${id}\n`);
  return 0;
}

/** The create body of a command line. Throws CliError with code 125 and where to find help, before anything is made. */
export function readBody(session: Session, given: Given, verb: 'run' | 'create' = 'run'): CreateAsk {
  try {
    const policy = textOf(given, 'pull') ?? 'missing';
    if (!['always', 'missing', 'never'].includes(policy)) {
      throw new CliError(`invalid pull option: '${policy}': must be one of "always", "missing" or "never"`);
    }
    return bodyOf(session, given);
  } catch (error) {
    throw error instanceof CliError ? withHelp(error.message, verb, 125) : error;
  }
}

function bodyOf(session: Session, given: Given): CreateAsk {
  const rootfs = textOf(given, 'rootfs');
  const [image = '', ...rest] = given.args;
  const cwd = session.env['PWD'] ?? process.cwd();
  const files = listOf(given, 'env-file').flatMap((path) => readEnvFile(path, session.env));
  const labelFiles = listOf(given, 'label-file').flatMap((path) => readEnvFile(path, {}));
  const body = containerBody(given, {
    image: rootfs === undefined ? image : '',
    command: rootfs === undefined ? rest : given.args,
    env: [...files, ...resolveEnv(listOf(given, 'env'), session.env)],
    labels: pairs([...labelFiles, ...listOf(given, 'label')]),
    securityOpt: listOf(given, 'security-opt').map(readSecurityOpt),
    cwd,
  });
  return rootfs === undefined ? body : { ...body, Rootfs: absolute(rootfs, cwd) };
}

/** `seccomp=FILE` becomes `seccomp=JSON`: the engine sees no files of the client's. */
function readSecurityOpt(text: string): string {
  const [name = '', ...rest] = text.split('=');
  const value = rest.join('=');
  if (rest.length === 0 && !text.includes(':') && text !== 'no-new-privileges' && text !== 'no-new-privileges:true') {
    throw new CliError(`Invalid --security-opt: ${JSON.stringify(text)}`, 125);
  }
  if (name !== 'seccomp' || value === 'unconfined' || value === 'builtin') return text;
  try {
    return `seccomp=${JSON.stringify(JSON.parse(readFileSync(value, 'utf8')))}`;
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    const why = missing
      ? `open ${value}: no such file or directory`
      : error instanceof Error
        ? error.message
        : String(error);
    throw new CliError(`opening seccomp profile (${value}) failed: ${why}`, 125);
  }
}

export type Making = { readonly client: Client; readonly given: Given; readonly body: CreateAsk };

/** Makes the container, pulling its image where `--pull` says so; prints warnings, writes `--cidfile`. Gives the id. */
export async function makeContainer(session: Session, making: Making): Promise<string> {
  const { given } = making;
  const policy = textOf(given, 'pull') ?? 'missing';
  const cidfile = textOf(given, 'cidfile');
  if (cidfile !== undefined) openCidfile(cidfile);
  try {
    checkNames(making);
    const id = await createPulling(session, making, policy);
    if (cidfile !== undefined) writeFileSync(cidfile, id);
    return id;
  } catch (error) {
    if (cidfile !== undefined) rmSync(cidfile, { force: true });
    throw error;
  }
}

/** What need not be asked to be known as wrong: the image's name and the platform's. Throws CliError. */
function checkNames({ given, body }: Making): void {
  const image = body.Image ?? '';
  const isId = /^(sha256:)?[0-9a-f]{64}$/.test(image);
  const read = isId || body.Rootfs !== undefined ? undefined : readReference(image);
  if (read?.kind === 'bad') throw new CliError(read.why);
  const platform = textOf(given, 'platform') ?? '';
  if (platform === '') return;
  try {
    parsePlatform(platform, { os: 'linux', architecture: 'amd64', variant: '' }); // whose architecture stands in for one left out does not matter here
  } catch (error) {
    throw new CliError(`error parsing specified platform: ${error instanceof Error ? error.message : error}`);
  }
}

function openCidfile(path: string): void {
  if (existsSync(path))
    throw new CliError(`container ID file found, make sure the other container isn't running or delete ${path}`);
  try {
    writeFileSync(path, '');
  } catch (error) {
    const why =
      (error as NodeJS.ErrnoException).code === 'ENOENT' ? `open ${path}: no such file or directory` : String(error);
    throw new CliError(`failed to create the container ID file: ${why}`);
  }
}

async function createPulling(session: Session, making: Making, policy: string): Promise<string> {
  const { client, given, body } = making;
  const image = body.Image ?? '';
  const query = { name: textOf(given, 'name'), platform: textOf(given, 'platform') };
  if (policy === 'always' && image !== '') await pull(session, making);
  const create = () => client.createContainer(body, query);
  const created = await create().catch(async (error: unknown) => {
    if (!isMissingImage(error) || policy === 'never' || image === '') throw error;
    const { familiarName } = await import('./image-name.ts');
    session.stderr.write(`Unable to find image '${familiarName(image)}' locally\n`);
    await pull(session, making);
    return create();
  });
  for (const warning of created.Warnings ?? []) complain(session, `WARNING: ${warning}`);
  return created.Id;
}

function isMissingImage(error: unknown): boolean {
  if (!(error instanceof ApiError) || error.status !== 404) return false;
  return error.code === undefined ? /^no such image/i.test(error.message) : error.code === 'image_not_found';
}

async function pull(session: Session, making: Making): Promise<void> {
  const { pullQuietlyOrNot } = await import('./pull.ts');
  await pullQuietlyOrNot(session, {
    client: making.client,
    image: making.body.Image ?? '',
    quiet: isOn(making.given, 'quiet'),
    to: session.stderr,
    platform: textOf(making.given, 'platform'),
  });
}

/** A failure of `run` with the code it ends with: 127 program not found, 126 not executable, else 125. */
export function runFailure(error: unknown): CliError {
  if (error instanceof ApiError) return withHelp(daemonText(error), 'run', startCode(error));
  if (error instanceof CliError && error.code === 125) return error;
  const text = error instanceof Error ? error.message : String(error);
  return withHelp(text, 'run', codeOfText(text));
}

function withHelp(text: string, verb: string, code: number): CliError {
  return new CliError(`berth: ${text}\n\nRun 'berth ${verb} --help' for more information`, code);
}

/** Berth's servers send a code for these two; else the sentence decides, as in Docker. Source: docker/cli 28.2, run.go, toStatusError. */
export function startCode(error: ApiError): number {
  if (error.code === 'program_not_found') return 127;
  if (error.code === 'not_executable') return 126;
  return codeOfText(error.message);
}

function codeOfText(text: string): number {
  if (/executable file not found|no such file or directory/.test(text)) return 127;
  return /permission denied|is a directory/.test(text) ? 126 : 125;
}
