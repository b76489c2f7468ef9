// An engine for tests of the server and the CLI: its containers are plain child processes of the test, its images are names. It isolates nothing.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { PassThrough, type Readable } from 'node:stream';
import type { ContainerId } from '../../../core/base/brand.ts';
import { BerthError } from '../../../core/base/errors.ts';
import type { Attachment, Chunk, Engine, EngineEvent, ExitResult, WaitCondition } from '../../../core/engine/engine.ts';
import {
  type ContainerCreateBody,
  type ContainerInspect,
  type ContainerSummary,
  containerInspect,
  containerSummary,
  execInspect,
  imageInspect,
  imageSummary,
  systemInfo,
  systemVersion,
} from '../../../core/spec/docker-api.ts';

type Status = 'created' | 'running' | 'paused' | 'exited';
type Fake = {
  id: ContainerId;
  name: string;
  body: ContainerCreateBody;
  status: Status;
  child: ChildProcess | undefined;
  stdin: PassThrough;
  printed: Chunk[];
  listeners: Set<PassThrough>;
  exit: PromiseWithResolvers<ExitResult>;
  removed: PromiseWithResolvers<ExitResult>;
  code: number;
};

export type FakeEngine = Engine & {
  readonly calls: string[];
  readonly images: Engine['images'] & { readonly known: Set<string> };
};

const NS = 1_000_000n;

/** Makes the engine; `known` images exist from the start. */
export function fakeEngine(known: readonly string[] = ['bb:1']): FakeEngine {
  const fakes = new Map<string, Fake>();
  const execs = new Map<
    string,
    { fake: Fake; argv: readonly string[]; tty: boolean; code: number | null; started: boolean }
  >();
  const images = new Set(known);
  const calls: string[] = [];
  const watchers = new Set<(event: EngineEvent) => void>();
  const find = (ref: string): Fake => {
    for (const one of fakes.values()) if (one.id === ref || one.name === ref.replace(/^\//, '')) return one;
    const found = [...fakes.values()].filter((one) => one.id.startsWith(ref));
    if (found.length === 1 && found[0]) return found[0];
    throw new BerthError('container_not_found', `No such container: ${ref}`);
  };
  const tell = (fake: Fake, action: string): void => {
    const attributes = { image: fake.body.Image, name: fake.name };
    for (const one of watchers)
      one({ type: 'container', action, id: fake.id, attributes, timeNs: BigInt(Date.now()) * NS });
  };
  const running = (ref: string): Fake => {
    const fake = find(ref);
    if (fake.child === undefined) throw new BerthError('container_not_running', `Container ${fake.id} is not running`);
    return fake;
  };
  const begin = (fake: Fake): void => {
    const argv = [...(fake.body.Entrypoint ?? []), ...(fake.body.Cmd ?? [])];
    if (argv[0] === 'nope')
      throw new BerthError('program_not_found', 'exec: "nope": executable file not found in $PATH');
    if (argv[0] === '/etc/passwd') throw new BerthError('not_executable', 'exec: "/etc/passwd": permission denied');
    fake.exit = Promise.withResolvers();
    fake.child = run(argv, fake.body.Env, fake);
    fake.status = 'running';
    tell(fake, 'start');
    fake.child.on('close', (code, signal) => {
      fake.code = code ?? (signal === 'SIGKILL' ? 137 : 143);
      fake.status = 'exited';
      fake.child = undefined;
      for (const one of fake.listeners) one.end();
      fake.exit.resolve({ code: fake.code, outOfMemory: false, error: undefined });
      tell(fake, 'die');
      if (fake.body.HostConfig.AutoRemove) remove(fake);
    });
  };
  const remove = (fake: Fake): void => {
    fakes.delete(fake.id);
    fake.removed.resolve({ code: fake.code, outOfMemory: false, error: undefined });
    tell(fake, 'destroy');
  };
  const stop = async (ref: string): Promise<boolean> => {
    const fake = find(ref);
    if (fake.child === undefined) return false;
    fake.child.kill('SIGKILL');
    await fake.exit.promise;
    return true;
  };
  return {
    calls,
    containers: {
      create: async (body, name) => {
        calls.push(`create ${JSON.stringify(body)}`);
        if (!images.has(body.Image)) throw new BerthError('image_not_found', `No such image: ${body.Image}`);
        const id = randomBytes(32).toString('hex') as ContainerId;
        for (const one of fakes.values())
          if (one.name === name)
            throw new BerthError(
              'name_in_use',
              `Conflict. The container name "/${name}" is already in use by container "${one.id}". You have to remove (or rename) that container to be able to reuse that name.`,
            );
        if (body.HostConfig.Binds?.some((bind) => bind.startsWith('/etc:')))
          throw new BerthError('helper_refused', 'policy refuses it', { hint: 'rule binds, field mounts[0].source' });
        const stdin = new PassThrough();
        fakes.set(id, {
          id,
          name: name ?? `fake_${id.slice(0, 4)}`,
          body,
          status: 'created',
          child: undefined,
          stdin,
          printed: [],
          listeners: new Set(),
          exit: Promise.withResolvers(),
          removed: Promise.withResolvers(),
          code: 0,
        });
        return { id, warnings: [] };
      },
      start: async (ref) => {
        const fake = find(ref);
        if (fake.child !== undefined) return false;
        begin(fake);
        return true;
      },
      stop,
      restart: async (ref) => {
        await stop(ref);
        begin(find(ref));
      },
      kill: async (ref, signal) => {
        const fake = find(ref);
        if (fake.child === undefined)
          throw new BerthError('container_not_running', `Container ${fake.id} is not running`);
        calls.push(`kill ${signal}`);
        fake.child.kill(
          (/^\d+$/.test(signal)
            ? Number(signal)
            : signal.startsWith('SIG')
              ? signal
              : `SIG${signal}`) as NodeJS.Signals,
        );
      },
      pause: async (ref) => {
        running(ref).status = 'paused';
      },
      unpause: async (ref) => {
        running(ref).status = 'running';
      },
      wait: async (ref, condition: WaitCondition) => {
        const fake = find(ref);
        const over = condition === 'not-running' && fake.child === undefined;
        const now = Promise.resolve({ code: fake.code, outOfMemory: false, error: undefined });
        const later =
          fake.status === 'created' || fake.child !== undefined
            ? Promise.resolve().then(() => fake.exit.promise)
            : fake.exit.promise;
        return {
          id: fake.id,
          exit: condition === 'removed' ? fake.removed.promise : over ? now : untilExit(fake, later),
        };
      },
      remove: async (ref, { force }) => {
        const fake = find(ref);
        if (fake.child !== undefined && !force)
          throw new BerthError(
            'conflict',
            `You cannot remove a running container ${fake.id}. Stop the container before attempting removal or force remove`,
          );
        await stop(ref);
        remove(fake);
      },
      rename: async (ref, name) => {
        find(ref).name = name;
      },
      update: async (ref) => {
        find(ref);
        return { warnings: [] };
      },
      list: async ({ all }) =>
        [...fakes.values()]
          .filter((one) => all || one.child !== undefined)
          .map(summary)
          .reverse(),
      inspect: async (ref) => inspection(find(ref)),
      logs: async (ref, query) => {
        const fake = find(ref);
        return { tty: fake.body.Tty, chunks: read(fake, { old: true, live: query.follow }) };
      },
      attach: async (ref, query): Promise<Attachment> => {
        const fake = find(ref);
        return {
          tty: fake.body.Tty,
          output: read(fake, { old: query.logs, live: query.stream, waits: true }),
          input: query.stdin ? fake.stdin : undefined,
          close: () => calls.push('detached'),
        };
      },
      resize: async (_ref, size) => {
        calls.push(`resize ${size.columns}x${size.rows}`);
      },
    },
    exec: {
      create: async (ref, body) => {
        const id = randomBytes(32).toString('hex');
        execs.set(id, { fake: running(ref), argv: body.Cmd ?? [], tty: body.Tty, code: null, started: false });
        return { id };
      },
      start: async (id, { detach }) => {
        const exec = execs.get(id);
        if (exec === undefined) throw new BerthError('exec_not_found', `No such exec instance: ${id}`);
        exec.started = true;
        const side: Pick<Fake, 'stdin' | 'printed' | 'listeners'> = {
          stdin: new PassThrough(),
          printed: [],
          listeners: new Set(),
        };
        if (exec.argv[0] === 'nope') exec.code = 127;
        if (exec.argv[0] === 'nope')
          throw new BerthError('program_not_found', 'exec: "nope": executable file not found in $PATH');
        const child = run(exec.argv, null, side);
        child.on('close', (code) => {
          exec.code = code;
          for (const one of side.listeners) one.end();
        });
        if (detach) return undefined;
        return {
          tty: exec.tty,
          output: read({ ...side, child } as Fake, { old: true, live: true }),
          input: side.stdin,
          close: () => undefined,
        };
      },
      inspect: async (id) => {
        const exec = execs.get(id);
        if (exec === undefined) throw new BerthError('exec_not_found', `No such exec instance: ${id}`);
        const zero = execInspect.zero();
        return {
          ...zero,
          ID: id,
          ExitCode: exec.code,
          Running: exec.code === null && exec.started,
          ContainerID: exec.fake.id,
          ProcessConfig: { ...zero.ProcessConfig, tty: exec.tty },
        };
      },
      resize: async () => undefined,
    },
    images: {
      known: images,
      pull: async function* (reference) {
        if (reference.startsWith('missing'))
          throw new BerthError('registry', `pull access denied for ${reference}, repository does not exist`);
        yield { status: `Pulling from ${reference}`, id: '1' };
        yield { status: 'Downloading', id: 'abcdef', progressDetail: { current: 50, total: 100 } };
        if (reference.startsWith('broken')) throw new BerthError('registry', 'unexpected end of blob');
        images.add(reference);
        yield { status: `Status: Downloaded newer image for ${reference}` };
      },
      load: async function* (archive: Readable) {
        let size = 0;
        for await (const chunk of archive) size += (chunk as Buffer).length;
        images.add('loaded:1');
        yield { stream: `Loaded image: loaded:1 (${size})\n` };
      },
      list: async () =>
        [...images].map((name) => ({
          ...imageSummary.zero(),
          Id: `sha256:${'ab'.repeat(32)}`,
          RepoTags: [name],
          RepoDigests: [],
          Created: 1_700_000_000,
          Size: 4_281_337,
          Containers: -1,
          SharedSize: -1,
        })),
      inspect: async (ref) => {
        if (!images.has(ref)) throw new BerthError('image_not_found', `No such image: ${ref}`);
        return { ...imageInspect.zero(), Id: `sha256:${'ab'.repeat(32)}`, RepoTags: [ref] };
      },
      tag: async (_ref, reference) => void images.add(reference),
      remove: async (ref) => {
        if (!images.delete(ref)) throw new BerthError('image_not_found', `No such image: ${ref}`);
        return [{ Untagged: ref }, { Deleted: `sha256:${'ab'.repeat(32)}` }] as never;
      },
    },
    system: {
      info: async () => ({
        ...systemInfo.zero(),
        ID: 'fake',
        ServerVersion: '0.1.0',
        NCPU: 2,
        MemTotal: 1 << 30,
        OSType: 'linux',
        Containers: fakes.size,
      }),
      version: async () => ({
        ...systemVersion.zero(),
        Version: '0.1.0',
        ApiVersion: '1.51',
        MinAPIVersion: '1.21',
        Os: 'linux',
        Arch: 'amd64',
      }),
      whoami: async () => ({
        uid: 1000,
        principal: 'test',
        profile: 'default',
        profiles: ['default'],
        keyId: 'ab',
        rootless: false,
        helper: undefined,
        problem: 'there is none in this test',
      }),
      doctor: async () => [{ topic: 'kernel', level: 'ok', found: '6.18', fix: undefined }],
    },
    explain: async ({ body, dryRun }) => ({
      text: `image ${body.Image}\n`,
      json: '{"layers":[]}',
      warnings: [],
      decision: dryRun ? { allowed: true, reasons: [] } : undefined,
    }),
    events: {
      subscribe: ({ untilNs }) => subscription(watchers, untilNs),
    },
    close: async () => {
      for (const one of fakes.values()) one.child?.kill('SIGKILL');
    },
  };
}

function untilExit(fake: Fake, exit: Promise<ExitResult>): Promise<ExitResult> {
  return fake.status === 'created' ? new Promise((resolve) => void waitStart(fake, resolve)) : exit;
}

async function waitStart(fake: Fake, resolve: (result: ExitResult) => void): Promise<void> {
  while (fake.status === 'created') await new Promise((later) => setTimeout(later, 5));
  resolve(await fake.exit.promise);
}

function run(
  argv: readonly string[],
  env: readonly string[] | null,
  side: Pick<Fake, 'stdin' | 'printed' | 'listeners'>,
): ChildProcess {
  const extra = Object.fromEntries((env ?? []).map((one) => [one.split('=')[0], one.slice(one.indexOf('=') + 1)]));
  const child = spawn(argv[0] ?? '', argv.slice(1), {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], ...extra },
  });
  side.stdin.pipe(child.stdin);
  child.stdin.on('error', () => undefined);
  for (const [stream, from] of [
    [1, child.stdout],
    [2, child.stderr],
  ] as const) {
    from.on('data', (bytes: Buffer) => {
      const chunk: Chunk = { stream, timeNs: BigInt(Date.now()) * NS, bytes };
      side.printed.push(chunk);
      for (const one of side.listeners) one.write(chunk);
    });
  }
  return child;
}

function read(
  fake: Pick<Fake, 'printed' | 'listeners' | 'child'> & { status?: Status },
  how: { old: boolean; live: boolean; waits?: boolean },
): AsyncIterable<Chunk> {
  const stream = new PassThrough({ objectMode: true, highWaterMark: 1e6 });
  if (how.old) for (const chunk of fake.printed) stream.write(chunk);
  if (how.live && (how.waits === true || fake.child !== undefined || fake.status === 'created'))
    fake.listeners.add(stream);
  else stream.end();
  return stream;
}

async function* subscription(
  watchers: Set<(event: EngineEvent) => void>,
  untilNs: bigint | undefined,
): AsyncGenerator<EngineEvent> {
  if (untilNs !== undefined) return;
  const stream = new PassThrough({ objectMode: true });
  const push = (event: EngineEvent): void => void stream.write(event);
  watchers.add(push);
  try {
    for await (const event of stream) yield event as EngineEvent;
  } finally {
    watchers.delete(push);
  }
}

function summary(fake: Fake): ContainerSummary {
  return {
    ...containerSummary.zero(),
    Id: fake.id,
    Names: [`/${fake.name}`],
    Image: fake.body.Image,
    Command: (fake.body.Cmd ?? []).join(' '),
    Created: Math.trunc(Date.now() / 1000) - 65,
    State: fake.status,
    Status:
      fake.status === 'exited'
        ? `Exited (${fake.code}) 1 second ago`
        : fake.status === 'created'
          ? 'Created'
          : 'Up About a minute',
    Labels: fake.body.Labels,
  };
}

function inspection(fake: Fake): ContainerInspect {
  const zero = containerInspect.zero();
  const state = {
    ...zero.State,
    Status: fake.status,
    Running: fake.child !== undefined,
    Paused: fake.status === 'paused',
    Pid: fake.child?.pid ?? 0,
    ExitCode: fake.code,
  };
  const { HostConfig, ...config } = fake.body;
  return {
    ...zero,
    Id: fake.id,
    Name: `/${fake.name}`,
    State: state,
    Config: { ...zero.Config, ...config },
    HostConfig,
    Mounts: [],
  } as ContainerInspect;
}
