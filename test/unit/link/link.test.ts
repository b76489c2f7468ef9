// The link against a helper that answers on real sockets: signing, order, descriptors, refusals, failures, and a helper that goes and comes back.
import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test, vi } from 'vitest';
import type { Watcher } from '../../../core/link/connection.ts';
import { type Link, makeLink } from '../../../core/link/link.ts';
import { isStateRefusal, Refusal } from '../../../core/link/refusal.ts';
import type { Verb } from '../../../core/link/session.ts';
import { makePipe } from '../../../core/sys/pipe.ts';
import type { Event } from '../../../proto/gen/berth/helper/v1/request.ts';
import { newKeyFile, readKeyFile } from '../../../proto/sign/key.ts';
import { Busy, DONE, type FakeHelper, type Handler, startFakeHelper } from './fake-helper.ts';

const open: { link?: Link; helper?: FakeHelper } = {};
afterEach(async () => {
  open.link?.close();
  await open.helper?.[Symbol.asyncDispose]();
  delete open.link;
  delete open.helper;
});

type Seen = { readonly events: Event[]; readonly ups: string[]; readonly downs: string[] };

async function linked(handler: Handler): Promise<{ link: Link; helper: FakeHelper; seen: Seen }> {
  const helper = await startFakeHelper(handler);
  const seen: Seen = { events: [], ups: [], downs: [] };
  const watcher: Watcher = {
    event: (event) => seen.events.push(event),
    up: (hello) => seen.ups.push(hello.instance.toString('hex')),
    down: (problem) => seen.downs.push(problem),
  };
  const key = readKeyFile(newKeyFile());
  if (key === undefined) throw new Error('no key');
  const link = makeLink(helper.place, key, watcher);
  Object.assign(open, { link, helper });
  return { link, helper, seen };
}

const remove = (container: string): Verb => ({ $case: 'remove', value: { container } });

test('requests are signed for the instance, as the first profile, with growing numbers, in the order in which they were sent', async () => {
  const { link, helper } = await linked(() => DONE);
  await Promise.all(Array.from({ length: 20 }, (_, i) => link.send(remove(`c${i}`))));
  expect(helper.requests.map(({ verb }) => verb?.$case === 'remove' && verb.value.container)).toEqual(
    Array.from({ length: 20 }, (_, i) => `c${i}`),
  );
  expect(helper.requests[0]).toMatchObject({ principal: 'tester', profile: 'usual', dryRun: false });
  expect(helper.requests[0]?.ticket.length).toBe(0);
  expect((await link.hello()).version).toBe('fake');
});

test('the numbers grow for the next engine too, although the clock was set back meanwhile', async () => {
  const sequences: bigint[] = [];
  for (const hours of [0, 1]) {
    vi.spyOn(Date, 'now').mockReturnValue(1_800_000_000_000 - hours * 3_600_000);
    vi.resetModules();
    const { openSession } = await import('../../../core/link/session.ts');
    const helper = await startFakeHelper(() => DONE);
    const key = readKeyFile(newKeyFile());
    if (key === undefined) throw new Error('no key');
    const session = await openSession(helper.place, key);
    await session.ask({ verb: remove('one'), fds: [], wantFds: false, dryRun: false });
    sequences.push(helper.requests[0]?.sequence ?? 0n);
    session.close();
    await helper[Symbol.asyncDispose]();
  }
  vi.restoreAllMocks();
  expect(sequences[1]).toBeGreaterThan(sequences[0] ?? 0n);
});

test('descriptors go with the request and come with the answer, and stay apart', async () => {
  const { link } = await linked((request, fds) => {
    const count = request.verb?.$case === 'remove' ? Number(request.verb.value.container) : 0;
    for (const fd of fds) {
      writeSync(fd, `to ${count}\n`);
      closeSync(fd);
    }
    return { ...DONE, give: Array.from({ length: count }, () => openSync('/dev/null', 'r')) };
  });
  const answers = await Promise.all(
    [0, 1, 3, 250].map(async (count) => {
      const pipe = makePipe();
      const { fds } = await link.send(remove(String(count)), { fds: [pipe.write], wantFds: true });
      const bytes = Buffer.alloc(16);
      const text = bytes.toString('utf8', 0, readSync(pipe.read, bytes));
      closeSync(pipe.read);
      closeSync(pipe.write);
      return { fds, text };
    }),
  );
  expect(answers.map(({ fds, text }) => [fds.length, text])).toEqual([
    [0, 'to 0\n'],
    [1, 'to 1\n'],
    [3, 'to 3\n'],
    [250, 'to 250\n'],
  ]);
  const all = answers.flatMap(({ fds }) => fds);
  expect(new Set(all).size).toBe(254);
  for (const fd of all) {
    expect(fstatSync(fd).isCharacterDevice()).toBe(true);
    closeSync(fd);
  }
});

test('a refusal carries every reason in one line', async () => {
  const reasons = [
    { rule: 'bindDenied', field: 'launch.mounts[0].bind', asked: '/etc', allowed: 'nothing beneath /etc' },
    { rule: 'memoryMax', field: 'launch.limits', asked: '2g', allowed: '1g' },
  ];
  const { link } = await linked((request) => (request.dryRun ? { allowed: true } : { allowed: false, reasons }));
  const error = await link.send(remove('c')).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(Refusal);
  expect((error as Refusal).code).toBe('helper_refused');
  expect((error as Refusal).message).toBe(
    'refused by policy: launch.mounts[0].bind is /etc, allowed is nothing beneath /etc (rule bindDenied); launch.limits is 2g, allowed is 1g (rule memoryMax)',
  );
  expect(isStateRefusal(error)).toBe(false);
  expect(
    isStateRefusal(new Refusal([{ rule: 'state', field: 'remove.container', asked: 'an unknown one', allowed: '' }])),
  ).toBe(true);
  expect((await link.dryRun(remove('c'))).allowed).toBe(true);
});

test.each([
  [
    'execute /bin/x',
    'execve',
    2,
    '',
    'program_not_found',
    'execute /bin/x: no such file or directory (execve: ENOENT)',
  ],
  [
    'execute /bin/x',
    'execve',
    13,
    'execute /bin/x: EACCES',
    'not_executable',
    'execute /bin/x: permission denied (execve: EACCES)',
  ],
  ['execute /bin/x', 'execve', 8, '', 'not_executable', 'execute /bin/x: exec format error (execve: ENOEXEC)'],
  [
    'mount /proc',
    'fsmount',
    1,
    'mount /proc: EPERM',
    'launch_failed',
    'mount /proc: operation not permitted (fsmount: EPERM)',
  ],
  [
    'make cgroup',
    'mkdir',
    28,
    '/sys/fs/cgroup/x',
    'launch_failed',
    'make cgroup: no space left on device: /sys/fs/cgroup/x (mkdir: ENOSPC)',
  ],
  ['import layer', '', 0, 'the digest differs', 'launch_failed', 'import layer: the digest differs'],
])('a failure is a sentence: %s %s %i', async (step, call, errno, detail, code, text) => {
  const { link } = await linked(() => ({
    allowed: true,
    outcome: { $case: 'failure', value: { step, call, errno, detail } },
  }));
  await expect(link.send(remove('c'))).rejects.toMatchObject({ code, message: text });
});

test('what was under way when the helper died is asked again of the next one', async () => {
  let stuck = true;
  const { link, helper, seen } = await linked(() => {
    if (stuck) void helper.stop();
    return DONE;
  });
  await link.hello();
  const asked = link.send(remove('again'));
  await expect.poll(() => seen.downs.length).toBe(1);
  stuck = false;
  await sleep(30);
  await helper.start();
  await asked;
  const last = helper.requests.at(-1);
  expect(last?.verb).toEqual(remove('again'));
  expect(last?.instance.equals(helper.requests[0]?.instance ?? Buffer.alloc(0))).toBe(false);
  expect(new Set(seen.ups).size).toBe(2);
  expect(helper.watches).toBe(2);
  expect(link.known().problem).toBeUndefined();
});

test('events come after each connection', async () => {
  const { link, helper, seen } = await linked(() => DONE);
  await link.hello();
  await expect.poll(() => seen.events.map(({ event }) => event?.$case)).toEqual(['ready']);
  helper.tell({ $case: 'outOfMemory', value: { container: 'c' } });
  await expect.poll(() => seen.events.length).toBe(2);
  await helper.stop();
  await expect.poll(() => link.known().problem).toBeDefined();
  await helper.start();
  await expect.poll(() => seen.events.filter(({ event }) => event?.$case === 'ready').length).toBe(2);
});

test('a helper that is busy is asked again', async () => {
  let busy = 3;
  const { link, helper } = await linked(() => {
    if (busy-- > 0) throw new Busy('too many requests');
    return DONE;
  });
  await link.send(remove('c'));
  expect(helper.requests.length).toBe(4);
});

test('at most 32 requests are under way at once', async () => {
  let [now, most] = [0, 0];
  const { link } = await linked(async () => {
    most = Math.max(most, ++now);
    await sleep(5);
    now--;
    return DONE;
  });
  await Promise.all(Array.from({ length: 100 }, (_, i) => link.send(remove(String(i)))));
  expect(most).toBeLessThanOrEqual(32);
  expect(most).toBeGreaterThan(8);
});
