// `berth` on a terminal: raw mode and its end, window size, detach keys, signals. script(1) makes the terminal.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { busybox, root, suite, tool } from '../kit/need.ts';
import { type Instance, startInstance } from './kit.ts';

type Terminal = {
  readonly type: (keys: string) => void;
  /** Waits until this was printed after what was waited for before. */
  readonly see: (text: string | RegExp) => Promise<string>;
  readonly end: () => Promise<number>;
  readonly child: ChildProcess;
};

const SEE_MS = 15_000;

function openTerminal(line: string, env: NodeJS.ProcessEnv): Terminal {
  const child = spawn('script', ['-qfec', line, '/dev/null'], { env, stdio: ['pipe', 'pipe', 'inherit'] });
  let printed = '';
  let seen = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    printed += chunk.toString();
  });
  const ended = new Promise<number>((resolve) => child.once('close', (code) => resolve(code ?? -1)));
  return {
    child,
    type: (keys) => void child.stdin.write(keys),
    see: async (text) => {
      for (const deadline = Date.now() + SEE_MS; Date.now() < deadline; await sleep(10)) {
        const rest = printed.slice(seen);
        const at = typeof text === 'string' ? rest.indexOf(text) : rest.search(text);
        if (at < 0) continue;
        const found = typeof text === 'string' ? text : (text.exec(rest)?.[0] ?? '');
        seen += at + found.length;
        return found;
      }
      throw new Error(`${JSON.stringify(String(text))} was not printed: ${JSON.stringify(printed.slice(seen))}`);
    },
    end: () => ended,
  };
}

suite('berth on a terminal', [root, busybox, tool('script', 'bsdutils')], () => {
  let berth: Instance;
  let env: NodeJS.ProcessEnv;
  beforeAll(() => {
    berth = startInstance();
    env = { ...process.env, BERTH_HOST: berth.host, PS1: '$ ', DOCKER_CONFIG: '/nonexistent' };
  }, 120_000);
  afterAll(() => berth?.[Symbol.dispose]());

  const open = (words: string): Terminal => openTerminal(`${berth.berthPath} ${words}`, env);
  const state = (name: string): string => berth.berth(['inspect', '-f', '{{.State.Status}}', name]).out.trim();

  test('run -it gives a shell a terminal of this size; its exit code is ours', async () => {
    const terminal = openTerminal(`stty rows 33 cols 99; ${berth.berthPath} run -it --rm --net none bb:1 sh`, env);
    await terminal.see('# ');
    terminal.type('tty; stty size; echo $((40+2))\r');
    await terminal.see('/dev/pts/0\r\n33 99\r\n42\r\n');
    terminal.type('exit 3\r');
    expect(await terminal.end()).toBe(3);
  });

  test('a change of the window reaches the container', async () => {
    const terminal = openTerminal(`tty; stty rows 20 cols 80; ${berth.berthPath} run -it --rm --net none bb:1 sh`, env);
    const outside = (await terminal.see(/\/dev\/pts\/\d+/)).trim();
    await terminal.see('# ');
    execFileSync('stty', ['-F', outside, 'rows', '44', 'cols', '123']);
    await sleep(300);
    terminal.type('stty size\r');
    await terminal.see('44 123\r\n');
    terminal.type('exit\r');
    expect(await terminal.end()).toBe(0);
  });

  test('the detach keys leave the container running; attach comes back to it and ends with its code', async () => {
    const first = open('run -it --name keys --net none bb:1 sh');
    await first.see('# ');
    first.type('echo first; X=kept\r');
    await first.see('first\r\n');
    first.type('\x10\x11');
    expect(await first.end()).toBe(0);
    expect(state('keys')).toBe('running');
    const second = open('attach keys');
    second.type('\r');
    await second.see('# ');
    second.type('echo $X\r');
    await second.see('kept\r\n');
    second.type('\x10\x11');
    await second.see('read escape sequence');
    expect(await second.end()).toBe(1);
    const third = open('attach --detach-keys=x,y keys');
    third.type('\r');
    await third.see('# ');
    third.type('echo \x10\x11 x\r');
    await third.see(/ x\r\n/);
    third.type('xy');
    await third.see('read escape sequence');
    const last = open('attach keys');
    last.type('exit 5\r');
    expect(await last.end()).toBe(5);
    expect(berth.berth(['rm', 'keys']).code).toBe(0);
  });

  test('exec -it has a terminal of its own', async () => {
    berth.berth(['run', '-d', '--name', 'host', '--net', 'none', 'bb:1', 'sleep', '1000']);
    const terminal = open('exec -it host sh');
    await terminal.see('# ');
    terminal.type('tty; exit 6\r');
    await terminal.see(/\/dev\/pts\/\d+\r\n/);
    expect(await terminal.end()).toBe(6);
    berth.berth(['rm', '-f', 'host']);
  });

  test.each([
    ['an end', 'run -it --rm --net none bb:1 true', ''],
    ['a program that is not there', 'run -it --rm --net none bb:1 nope', ''],
    ['the detach keys', 'run -it --name gone1 --net none bb:1 sleep 1000', '\x10\x11'],
    [
      "ctrl-c, which is the container's",
      'run -it --rm --net none bb:1 sh -c "trap \'exit 7\' INT; while :; do sleep 0.1; done"',
      '\x03',
    ],
  ])('the terminal is as before after %s', async (_name, words, keys) => {
    const terminal = openTerminal(`stty -g; ${berth.berthPath} ${words}; echo; stty -g; echo done`, env);
    const before = (await terminal.see(/[0-9a-f:]{40,}/)).trim();
    if (keys !== '') {
      await sleep(700);
      terminal.type(keys);
    }
    expect((await terminal.see(/[0-9a-f:]{40,}/)).trim()).toBe(before);
    await terminal.see('done');
    await terminal.end();
    berth.berth(['rm', '-f', 'gone1']);
  });

  test.each(['TERM', 'HUP', 'INT', 'QUIT'])(
    'a SIG%s to berth goes to the container, and the terminal is as before',
    async (signal) => {
      const program = `sh -c "trap 'echo got; exit 8' ${signal}; echo ready; while :; do sleep 0.1; done"`;
      const terminal = openTerminal(
        `stty -g; ${berth.berthPath} run -it --name sig --rm --net none bb:1 ${program}; echo code $?; stty -g; echo done`,
        env,
      );
      const before = (await terminal.see(/[0-9a-f:]{40,}/)).trim();
      await terminal.see('ready');
      const pid = execFileSync('pgrep', ['-f', 'cli.cjs|berth run -it --name sig'], { encoding: 'utf8' })
        .trim()
        .split('\n');
      for (const one of pid) if (isBerth(Number(one))) process.kill(Number(one), `SIG${signal}`);
      await terminal.see('got');
      await terminal.see('code 8');
      expect((await terminal.see(/[0-9a-f:]{40,}/)).trim()).toBe(before);
      await terminal.end();
    },
  );

  test('sig-proxy=false: the signal ends berth alone, and the terminal is as before', async () => {
    const terminal = openTerminal(
      `stty -g; ${berth.berthPath} run -it --name sig2 --sig-proxy=false --net none bb:1 sh -c "echo ready; sleep 1000"; echo; stty -g; echo done`,
      env,
    );
    const before = (await terminal.see(/[0-9a-f:]{40,}/)).trim();
    await terminal.see('ready');
    const pids = execFileSync('pgrep', ['-f', 'berth run -it --name sig2'], { encoding: 'utf8' })
      .trim()
      .split('\n')
      .map(Number);
    for (const pid of pids.filter(isBerth)) process.kill(pid, 'SIGTERM');
    expect((await terminal.see(/[0-9a-f:]{40,}/)).trim()).toBe(before);
    await terminal.see('done');
    expect(state('sig2')).toBe('running');
    expect(berth.berth(['rm', '-f', 'sig2']).code).toBe(0);
    await terminal.end();
  });
});

/** Not the shell or script(1), whose command lines hold the same words. */
function isBerth(pid: number): boolean {
  try {
    return /node$/.test(execFileSync('readlink', [`/proc/${pid}/exe`], { encoding: 'utf8' }).trim());
  } catch {
    return false; // it has ended
  }
}
