// Engine, helper, both, keeper or porter are killed with SIGKILL at every point of test/kit/survival.ts, while a container prints without pause: it runs on,
// every command answers by itself, codes and output are right, and afterwards nothing is there that was not before.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Fake, startFake } from '../kit/fake-registry.ts';
import { busyboxTar, dockerSave25, makeImage } from '../kit/image.ts';
import {
  built,
  IMAGE,
  type Instance,
  isAlive,
  type Leftovers,
  loadBusybox,
  publicFile,
  type Ran,
  type Running,
  settled,
  startInstance,
} from '../kit/instance.ts';
import { busybox, root, suite } from '../kit/need.ts';
import {
  COUNTING_ON,
  counting,
  expectCount,
  makeRandom,
  MOMENTS,
  type Point,
  POINTS,
  pointText,
  type Verb,
  VERBS,
  VICTIMS,
} from '../kit/survival.ts';
import { tarOf } from '../kit/tar.ts';

const seed = Number(process.env['BERTH_SEED'] ?? Date.now() % 2 ** 31);
const random = makeRandom(seed);
const LINES = 20_000;
const ROOMY = ['--log-opt', 'max-size=500m'];

/** What a verb does here. `name` is of the container or image that is its own. */
type Script = {
  /** What it needs. */
  readonly prepare: (name: string) => Promise<unknown>;
  readonly act: (name: string) => Running;
  /** How it ends where nobody was killed, or only somebody who is not the engine. */
  readonly undisturbed: Partial<Ran>;
  /** Repeats it if it did not get through; then all that the user asked for must be there. */
  readonly finish: (name: string, ran: Ran) => Promise<void>;
};

suite('survival', [root, built, busybox], () => {
  let berth: Instance;
  let registry: Fake;
  let archive: string;
  let done = 0;

  const image = makeImage({
    layers: [busyboxTar(), tarOf([{ name: 'big', content: Buffer.alloc(4 << 20, 'many bytes ') }])],
    config: { Cmd: ['cat', '/big'] },
  });

  beforeAll(async () => {
    process.stdout.write(`survival: ${POINTS.length} points, seed ${seed} (BERTH_SEED)\n`);
    berth = await startInstance();
    await loadBusybox(berth);
    registry = await startFake({ 'app:1': image });
    archive = publicFile(berth.directory, 'app.tar', dockerSave25([{ image, tags: ['app:1'] }]));
  });
  afterAll(async () => {
    await registry.close();
    await berth[Symbol.asyncDispose]();
  });

  const stateOf = async (name: string): Promise<string> => {
    const { code, out } = await berth.run(['container', 'inspect', '-f', '{{.State.Status}}', name]);
    return code === 0 ? out.trim() : 'none';
  };
  const runDetached = (name: string, script: string): Promise<string> =>
    berth.ok(['run', '-d', '--name', name, ...ROOMY, IMAGE, 'sh', '-c', script]);
  /** Its end is as the program made it, and so is its output. */
  const expectEnd = async (name: string, end: { code: number; out: string }): Promise<void> => {
    expect(await berth.ok(['wait', name])).toBe(String(end.code));
    expect((await berth.run(['logs', name])).out).toBe(end.out);
  };

  const SHORT = ['sh', '-c', 'echo begun; sleep 0.05; echo done; exit 7'];
  const SHORT_END = { code: 7, out: 'begun\ndone\n' };
  const startIfNot = async (name: string): Promise<void> => {
    if ((await stateOf(name)) === 'created') await berth.ok(['start', name]);
  };
  const imageRuns = async (reference: string): Promise<void> => {
    const { code, out, err } = await berth.run(['run', '--rm', reference, 'wc', '-c', '/big']);
    expect({ code, out, err }).toEqual({ code: 0, out: `${4 << 20} /big\n`, err: '' });
    await berth.ok(['rmi', reference]);
  };

  const scripts: Readonly<Record<Verb, Script>> = {
    start: {
      prepare: (name) => berth.ok(['create', '--name', name, IMAGE, ...SHORT]),
      act: (name) => berth.start(['start', name]),
      undisturbed: { code: 0 },
      finish: async (name) => {
        await startIfNot(name);
        await expectEnd(name, SHORT_END);
        await berth.ok(['rm', name]);
      },
    },
    run: {
      prepare: async () => undefined,
      act: (name) => berth.start(['run', '--name', name, IMAGE, ...SHORT]),
      undisturbed: SHORT_END,
      finish: async (name, ran) => {
        if ((await stateOf(name)) === 'none') {
          expect(ran.code).toBe(125);
          return;
        }
        await startIfNot(name);
        await expectEnd(name, SHORT_END);
        await berth.ok(['rm', name]);
      },
    },
    exec: {
      prepare: (name) => runDetached(name, 'sleep 1000'),
      act: (name) => berth.start(['exec', name, ...SHORT]),
      undisturbed: SHORT_END,
      finish: async (name) => {
        expect(await berth.run(['exec', name, 'sh', '-c', 'echo again; exit 3'])).toEqual({
          code: 3,
          out: 'again\n',
          err: '',
        });
        await berth.ok(['rm', '-f', name]);
      },
    },
    output: {
      prepare: (name) => runDetached(name, counting(LINES)),
      act: (name) => berth.start(['logs', '-f', name]),
      undisturbed: { code: 0 },
      finish: async (name, ran) => {
        const told = expectCount(ran.out.slice(0, ran.out.lastIndexOf('\n') + 1));
        if (ran.code === 0) expect(told).toBe(LINES);
        expect(await berth.ok(['wait', name])).toBe('42');
        expect(expectCount(await berth.ok(['logs', name]))).toBe(LINES);
        await berth.ok(['rm', name]);
      },
    },
    stop: {
      prepare: async (name) => {
        await runDetached(name, 'trap "echo bye; exit 3" TERM; echo ready; while :; do sleep 0.02; done');
        await expect.poll(() => berth.ok(['logs', name])).toBe('ready');
      },
      act: (name) => berth.start(['stop', name]),
      undisturbed: { code: 0 },
      finish: async (name, ran) => {
        if (ran.code !== 0) await berth.ok(['stop', name]);
        await expectEnd(name, { code: 3, out: 'ready\nbye\n' });
        await berth.ok(['rm', name]);
      },
    },
    remove: {
      prepare: (name) => runDetached(name, 'sleep 1000'),
      act: (name) => berth.start(['rm', '-f', name]),
      undisturbed: { code: 0 },
      finish: async (name, ran) => {
        if (ran.code !== 0 && (await stateOf(name)) !== 'none') await berth.ok(['rm', '-f', name]);
        expect(await stateOf(name)).toBe('none');
      },
    },
    load: {
      prepare: async () => undefined,
      act: () => berth.start(['load', '-i', archive]),
      undisturbed: { code: 0, out: 'Loaded image: app:1\n' },
      finish: async (_, ran) => {
        if (ran.code !== 0) await berth.ok(['load', '-i', archive]);
        await imageRuns('app:1');
      },
    },
    pull: {
      prepare: async () => undefined,
      act: () => berth.start(['pull', `${registry.host}/app:1`]),
      undisturbed: { code: 0 },
      finish: async (_, ran) => {
        if (ran.code !== 0) await berth.ok(['pull', `${registry.host}/app:1`]);
        await imageRuns(`${registry.host}/app:1`);
      },
    },
  };

  /** How long a verb takes here, to kill within it. */
  const measure = async (script: Script, name: string): Promise<number> => {
    await script.prepare(name);
    const from = Date.now();
    const ran = await script.act(name).ended;
    const tookMs = Date.now() - from;
    expect(ran).toMatchObject(script.undisturbed);
    await script.finish(name, ran);
    return tookMs;
  };

  const runPoint = async (script: Script, point: Point, at: { name: string; tookMs: number }): Promise<void> => {
    const { victims, moment } = point;
    await script.prepare(at.name);
    if (moment.kind === 'before') await berth.kill(victims);
    const acting = script.act(at.name);
    if (moment.kind === 'within') {
      await sleep(random() * at.tookMs);
      await berth.kill(victims);
    }
    const ran = await acting.ended;
    if (moment.kind === 'after') await berth.kill(victims);
    const disturbed = moment.kind === 'within' && victims.includes('engine');
    if (!disturbed) expect(ran, JSON.stringify(ran)).toMatchObject(script.undisturbed);
    else if (ran.code !== 0 && ran.code !== script.undisturbed.code) expectSentence(ran);
    await script.finish(at.name, ran);
  };

  /** What went wrong is said, once, and no stack is shown. */
  const expectSentence = ({ err }: Ran): void => {
    expect(err.trim()).not.toBe('');
    expect(err).not.toMatch(/^\s+at /m);
    expect(
      err
        .replace(/\n\nRun 'berth .*/s, '')
        .trim()
        .split('\n').length,
      err,
    ).toBe(1);
  };

  const runVerb = async (verb: Verb): Promise<void> => {
    const script = scripts[verb];
    const tookMs = await measure(script, `${verb}-first`);
    await berth.ok(['run', '-d', '--name', 'witness', '--cpus', '0.15', ...ROOMY, IMAGE, 'sh', '-c', COUNTING_ON]);
    const pid = Number(await berth.ok(['inspect', '-f', '{{.State.Pid}}', 'witness']));
    const before: Leftovers = berth.leftovers();
    for (const [i, point] of POINTS.filter((one) => one.verb === verb).entries()) {
      try {
        await runPoint(script, point, { name: `${verb}-${i}`, tookMs });
        expect(isAlive(pid)).toBe(true);
        expect(await berth.ok(['ps', '-a', '--format', '{{.Names}}'])).toBe('witness');
        expect(await settled(berth, before)).toEqual([]);
      } catch (error) {
        throw new Error(`${pointText(point)} (seed ${seed}): ${error instanceof Error ? error.message : error}`, {
          cause: error,
        });
      }
      done++;
    }
    // Its code may be 137: the witness may end, and everything in it, before touch has.
    await berth.run(['exec', 'witness', 'touch', '/stop']);
    expect(await berth.ok(['wait', 'witness'])).toBe('42');
    expect(expectCount(await berth.ok(['logs', 'witness']))).toBeGreaterThan(1000);
    await berth.ok(['rm', 'witness']);
  };

  const limitMs = process.env['BERTH_LONG'] ? 1_800_000 : 180_000;
  for (const verb of VERBS) test(`${verb}: ${MOMENTS.length * VICTIMS.length} points`, () => runVerb(verb), limitMs);

  test('every point was run', () => {
    expect(POINTS.length).toBe(VERBS.length * VICTIMS.length * MOMENTS.length);
    expect(POINTS.length).toBeGreaterThanOrEqual(160);
    expect(done).toBe(POINTS.length);
  });
});
