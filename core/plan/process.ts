// What is executed: argument vector, files to try, environment, directory, ids, limits, capabilities.
import type { Process } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { ContainerCreateBody, ExecCreateBody } from '../spec/docker-api.ts';
import { planArgv } from './argv.ts';
import { planCapabilities } from './capabilities.ts';
import { planEnv, variable } from './env.ts';
import type { Facts, ImageConfig } from './facts.ts';
import { cleanPath } from './paths.ts';
import { gather, type Noted, noProgram, noted, refuse } from './reason.ts';
import { planRlimits } from './rlimits.ts';
import { resolveUser } from './users.ts';

export type ProcessAsked = {
  readonly body: ContainerCreateBody;
  readonly facts: Facts;
  readonly hostname: string;
  readonly noNewPrivileges: boolean;
  /** A further process in the container. */
  readonly exec?: ExecCreateBody;
};

const UMASK = 0o022;
const FILES_MAX = 64; // helper/decode takes no more

/** What a container without an image inherits. */
const NO_IMAGE: ImageConfig = {
  env: [],
  entrypoint: undefined,
  cmd: undefined,
  workingDir: '',
  user: '',
  volumes: [],
  stopSignal: '',
};

/** The image's configuration, or an empty one for `--rootfs`. */
export function imageConfig(facts: Facts): ImageConfig {
  return facts.root.kind === 'image' ? facts.root.config : NO_IMAGE;
}

/** Throws bad_parameter with Docker's texts where a part of it cannot be. */
export function planProcess(asked: ProcessAsked): Noted<Process> {
  const { body, facts, exec } = asked;
  const host = body.HostConfig;
  const argv = exec === undefined ? containerArgv(body, facts) : execArgv(exec);
  const user = resolveUser({
    user: firstOf(exec?.User, body.User, imageConfig(facts).user),
    groupAdd: host.GroupAdd ?? [],
    passwd: facts.passwd,
    group: facts.group,
  });
  const env = planEnv({
    image: imageConfig(facts).env,
    user: body.Env ?? [],
    exec: exec?.Env ?? [],
    hostname: asked.hostname,
    tty: exec === undefined ? body.Tty : exec.Tty,
    home: user.value.home,
  });
  const cwd = planCwd(asked);
  const capabilities = planCapabilities({
    add: host.CapAdd ?? [],
    drop: host.CapDrop ?? [],
    privileged: host.Privileged || exec?.Privileged === true,
    uid: user.value.uid,
    available: facts.host.capabilities,
  });
  const limits = (host.Ulimits ?? []).map(({ Name: name, Soft: soft, Hard: hard }) => ({ name, soft, hard }));
  const rlimits = planRlimits(limits, facts.host);
  checkScore(host.OomScoreAdj);
  const process: Process = {
    argv: argv.value,
    env: env.value,
    executables: executables(argv.value[0] ?? '', env.value),
    cwd: cwd.value,
    uid: user.value.uid,
    gid: user.value.gid,
    groups: mappableGroups(user.value.groups, asked),
    rlimits: rlimits.value,
    capabilities: capabilities.value,
    noNewPrivileges: asked.noNewPrivileges,
    oomScoreAdj: host.OomScoreAdj,
    umask: UMASK,
  };
  const notes = gather([argv, user, env, cwd, capabilities, rlimits]);
  return noted(process, notes.reasons, notes.warnings);
}

function firstOf(...texts: readonly (string | undefined)[]): string {
  return texts.find((text) => text !== undefined && text !== '') ?? '';
}

/** Who has one id alone cannot set groups at all. Source: man 7 user_namespaces, setgroups. */
function mappableGroups(groups: readonly number[], { body, facts }: ProcessAsked): number[] {
  const { rootless, uidCountMax } = facts.host;
  if (!rootless || uidCountMax > 1) return [...groups];
  if ((body.HostConfig.GroupAdd ?? []).length > 0)
    refuse('--group-add: a rootless user with one id has no groups to give');
  return [];
}

function containerArgv(body: ContainerCreateBody, facts: Facts): Noted<string[]> {
  const { entrypoint, cmd } = imageConfig(facts);
  const user = { entrypoint: body.Entrypoint ?? undefined, cmd: body.Cmd ?? undefined };
  return planArgv({ image: { entrypoint, cmd }, user });
}

function execArgv(exec: ExecCreateBody): Noted<string[]> {
  const words = [...(exec.Cmd ?? [])];
  if (words.length === 0) refuse('No exec command specified');
  if (words[0] === '') noProgram('', 'the first word of the command is empty');
  return noted(words, [{ about: 'argv', text: 'the words of the exec' }]);
}

/** Source: moby, daemon/container.go translateWorkingDir. */
function planCwd({ body, facts, exec }: ProcessAsked): Noted<string> {
  const own = firstOf(exec?.WorkingDir, body.WorkingDir);
  if (own !== '' && !own.startsWith('/')) {
    if (exec?.WorkingDir === own) refuse('Cwd must be an absolute path');
    refuse(`the working directory '${own}' is invalid, it needs to be an absolute path`);
  }
  const image = imageConfig(facts).workingDir;
  const text = own !== '' ? '--workdir' : image !== '' ? 'WORKDIR of the image' : 'none named';
  return noted(cleanPath(firstOf(own, image, '/')), [{ about: 'cwd', text }]);
}

function checkScore(score: number): void {
  if (score < -1000 || score > 1000) refuse(`Invalid value ${score}, range for oom score adj is [-1000, 1000]`);
}

/** The files that execve(2) is tried with. An empty directory of PATH is the working directory. Source: Go os/exec LookPath, as runc uses it. */
function executables(program: string, env: readonly string[]): string[] {
  if (program.includes('/')) return [program];
  const directories = (variable(env, 'PATH') ?? '').split(':').map((directory) => (directory === '' ? '.' : directory));
  const path = variable(env, 'PATH') ?? '';
  if (path === '') noProgram(program, 'PATH is empty');
  const files = [...new Set(directories)].map((directory) => `${directory.replace(/\/+$/, '')}/${program}`);
  if (files.length > FILES_MAX) refuse(`PATH has ${files.length} directories: at most ${FILES_MAX} can be tried`);
  return files;
}
