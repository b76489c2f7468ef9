// The public gRPC service from another language: Python with nothing but grpcio, against a real engine that runs real containers.
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { IMAGE, type PrivateEngine, startEngine } from '../kit/engine.ts';
import { busybox, type Need, root, suite } from '../kit/need.ts';

const PYTHON = '/usr/bin/python3';
const grpcio: Need = {
  reason: 'needs grpcio for /usr/bin/python3 (Debian package python3-grpcio)',
  met: () => spawnSync(PYTHON, ['-c', 'import grpc, google.protobuf'], { stdio: 'ignore' }).status === 0,
};
const here = new URL('./python/', import.meta.url).pathname;

type Ran = { readonly code: number | null; readonly out: string; readonly err: string };

suite('berth.v1 from Python', [root, grpcio, busybox], () => {
  let engine: PrivateEngine;
  let socket: string;
  beforeAll(async () => {
    engine = await startEngine();
    socket = engine.socket.replace(/docker\.sock$/, 'rpc.sock');
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
  });

  function python(...args: string[]): Promise<Ran> {
    const child = spawn(PYTHON, args, { cwd: here, stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 });
    let [out, err] = ['', ''];
    child.stdout.on('data', (piece) => (out += piece));
    child.stderr.on('data', (piece) => (err += piece));
    return new Promise((resolve) => child.once('close', (code) => resolve({ code, out, err })));
  }
  const script = (text: string): Promise<Ran> =>
    python(
      '-c',
      `import json, sys\nfrom berth_client import Berth, grpc\nberth = Berth(${JSON.stringify(socket)})\n${text}`,
    );

  test('the example runs a container: its output, its streams apart, its exit code', async () => {
    const ran = await python(
      join(here, 'berth_client.py'),
      socket,
      IMAGE,
      'sh',
      '-c',
      'echo out; echo err >&2; exit 3',
    );
    expect(ran.code).toBe(3);
    expect(ran.out).toBe('out\n');
    expect(ran.err).toMatch(/^engine \S+ of uid \d+ \(\S+\)\nerr\n$/);
  });

  test.each([
    ['an unknown image', ['nosuch:1', 'true'], 'NOT_FOUND: No such image: nosuch:1'],
    ['a program that is not there', [IMAGE, 'nope'], 'FAILED_PRECONDITION: cannot start container'],
  ])('%s is refused with its status', async (_, words, message) => {
    const ran = await python(join(here, 'berth_client.py'), socket, ...words);
    expect(ran.code).toBe(125);
    expect(ran.err).toContain(message);
  });

  test('limits, list, stop and events', async () => {
    const ran = await script(`
import threading
seen = []
events = berth.call("Events", timeout=30)
def watch():
    try:
        for event in events:
            seen.append(event.action)
    except grpc.RpcError:
        pass
watcher = threading.Thread(target=watch)
watcher.start()
spec = {"image": "${IMAGE}", "name": "by-python", "command": ["sleep", "100"], "memory_bytes": 64 << 20, "pids_limit": 20, "labels": {"a": "b"}}
made = berth.call("Create", spec=spec).id
berth.call("Start", container=made)
row = [one for one in berth.call("List").containers if one.id == made][0]
berth.call("Stop", container="by-python", timeout_seconds=0)
code = berth.call("Wait", container=made).exit_code
berth.call("Remove", container=made)
gone = [one for one in berth.call("List", all=True).containers if one.id == made]
events.cancel()
watcher.join()
print(json.dumps({"name": row.name, "image": row.image, "state": row.state, "pid": row.pid > 1, "labels": dict(row.labels),
                  "created": row.created_ns > 10**18, "code": code, "gone": gone, "seen": seen}))
`);
    expect(ran.err).toBe('');
    const found = JSON.parse(ran.out);
    expect(found).toMatchObject({
      name: 'by-python',
      image: IMAGE,
      state: 'running',
      pid: true,
      labels: { a: 'b' },
      created: true,
      code: 137,
      gone: [],
    });
    expect(found.seen).toEqual(expect.arrayContaining(['create', 'start', 'die', 'destroy']));
  });

  test('explain tells the plan, and with dry_run what the helper says to it', async () => {
    const ran = await script(`
spec = {"image": "${IMAGE}", "command": ["true"]}
allowed = berth.call("Explain", spec=spec, dry_run=True)
refused = berth.call("Explain", spec={**spec, "network": "host"}, dry_run=True)
print(json.dumps({"allowed": allowed.allowed, "text": allowed.text, "argv": json.loads(allowed.json)["process"]["argv"],
                  "refused": refused.allowed, "why": refused.text[-400:]}))
`);
    expect(ran.err).toBe('');
    const found = JSON.parse(ran.out);
    expect(found).toMatchObject({ allowed: true, argv: ['true'], refused: false });
    expect(found.text).toContain('CLONE_NEWUSER');
    expect(found.text).toMatch(/the helper would allow it\n$/);
    expect(found.why).toMatch(/the helper would refuse it\n {2}refused by /);
  });

  test('the service is healthy and reflects itself', async () => {
    const ran = await script(`
check = berth.channel.unary_unary("/grpc.health.v1.Health/Check")
print(check(b"\\x0a\\x16berth.v1.EngineService").hex(), sorted(berth.methods))
`);
    expect(ran.err).toBe('');
    expect(ran.out).toBe(
      "0801 ['Create', 'Events', 'Explain', 'Hello', 'List', 'Logs', 'Remove', 'Start', 'Stop', 'Wait']\n",
    );
  });
});
