// Every case that can be run alone is run for real: the same intent whose plan is a golden text gives what the case says.
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RESERVED_UID } from '../../core/cli/place.ts';
import { planContainer } from '../../core/plan/container.ts';
import { NS_FLAGS } from '../../core/plan/namespaces.ts';
import { baseFacts, type Case, donorFacts, intent, loadCases } from '../cases/load.ts';
import { IMAGE, type PrivateEngine, startEngine } from '../kit/engine.ts';
import { busyboxImage, dockerSave25 } from '../kit/image.ts';
import { busybox, root, suite } from '../kit/need.ts';

const HIERARCHY = existsSync('/sys/fs/cgroup/cgroup.controllers') ? 'v2' : 'v1';

suite('cases, run for real', [root, busybox], () => {
  let engine: PrivateEngine;
  const folder = mkdtempSync(join(tmpdir(), 'berth-cases-'));
  beforeAll(async () => {
    chmodSync(folder, 0o755);
    engine = await startEngine();
    await engine.run(['sleep', '1000'], { name: 'donor', Hostname: 'donor', HostConfig: { IpcMode: 'shareable' } });
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  });
  const cases = loadCases(folder);

  test('most are run, and the others say why not', () => {
    expect(cases.filter(({ run }) => run.skip === undefined).length).toBeGreaterThan(20);
    expect(cases.filter(({ run }) => ![run.exit, run.refused, run.skip].some((given) => given !== undefined))).toEqual(
      [],
    );
  });

  const modes: readonly (readonly [string, Record<string, unknown>])[] = [
    ['nothing', {}],
    ['pid and ipc of another', { PidMode: 'container:donor', IpcMode: 'container:donor' }],
    ['network of another', { NetworkMode: 'container:donor' }],
  ];
  test.each(modes)('the namespaces of a process are those of its plan: %s asked', async (_, host) => {
    const facts = baseFacts({ lookups: {}, joined: { donor: donorFacts() } });
    const { namespaces } = planContainer(intent({ Cmd: ['sleep', '100'], HostConfig: host }), facts).launch;
    const Id = await engine.run(['sleep', '100'], { HostConfig: host });
    try {
      const [own, donors, ours] = [await pidOf(engine, Id), await pidOf(engine, 'donor'), 'self'].map(namespacesOf);
      for (const [kind, bit] of Object.entries(NS_FLAGS)) {
        const joined = namespaces?.join.some((join) => join.namespace === BigInt(bit));
        const made = ((namespaces?.unshare ?? 0n) & BigInt(bit)) !== 0n;
        const seen = own?.[kind] === ours?.[kind] ? 'host' : own?.[kind] === donors?.[kind] ? 'joined' : 'new';
        expect([kind, seen]).toEqual([kind, joined ? 'joined' : made ? 'new' : 'host']);
      }
    } finally {
      await engine.client.removeContainer(Id, { force: true });
    }
  });

  for (const one of cases) {
    const { run } = one;
    const elsewhere = run.cgroup === undefined || run.cgroup === HIERARCHY ? undefined : `needs cgroup ${run.cgroup}`;
    const why = run.skip ?? elsewhere;
    test.skipIf(why !== undefined)(`${one.name}: ${why ?? one.about}`, async () => {
      makeFiles(folder, one);
      const Image = await imageOf(engine, one);
      const { Id } = await engine.client.createContainer({ ...one.intent.body, Image }, {});
      try {
        if (run.refused !== undefined) {
          await expect(engine.client.startContainer(Id)).rejects.toMatchObject({ code: run.refused });
          return;
        }
        await engine.client.startContainer(Id);
        const code = await engine.ended(Id);
        const { out, err } = await engine.logs(Id);
        expect({ code, out: run.stdout === undefined ? undefined : out }, err).toEqual({
          code: run.exit,
          out: run.stdout,
        });
      } finally {
        await engine.client.removeContainer(Id, { force: true });
      }
    });
  }
});

async function pidOf(engine: PrivateEngine, ref: string): Promise<string> {
  return String((await engine.client.inspectContainer(ref)).State.Pid);
}

/** The namespaces of a process by their inodes, as /proc names them. */
function namespacesOf(pid: string): Record<string, string> {
  const kinds = Object.keys(NS_FLAGS);
  return Object.fromEntries(kinds.map((kind) => [kind, readlinkSync(`/proc/${pid}/ns/${kind}`)]));
}

/** What the binds of the case need. Directories are the user's own, as in life: the container's root is that user there. */
function makeFiles(folder: string, { files }: Case): void {
  for (const [path, text] of Object.entries(files)) {
    const at = join(folder, path);
    if (text === 'directory') mkdirSync(at, { recursive: true });
    else writeFileSync(at, text, { mode: 0o644 });
    chownSync(at, RESERVED_UID, RESERVED_UID);
  }
}

/** Busybox, or one made for the case where it says something of the image's configuration. */
async function imageOf(engine: PrivateEngine, { name, image }: Case): Promise<string> {
  if (Object.keys(image).length === 0) return IMAGE;
  const { env: Env, entrypoint: Entrypoint, cmd: Cmd } = image;
  const archive = dockerSave25([{ image: busyboxImage({ Env, Entrypoint, Cmd }), tags: [`case:${name}`] }]);
  for await (const line of await engine.client.load(Readable.from([archive]), {})) expect(line.error).toBeUndefined();
  return `case:${name}`;
}
