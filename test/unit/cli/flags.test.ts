// The grammar of the command line, and the sentences for what is wrong in it. The sentences are docker 28.2's own, seen by running it.
import { expect, test } from 'vitest';
import { CREATE_FLAGS, flag, RUN_FLAGS } from '../../../core/cli/container-flags.ts';
import { parseFlags } from '../../../core/cli/flags.ts';

const run = { flags: RUN_FLAGS, stopAtWord: true } as const;

function given(words: readonly string[], command: Parameters<typeof parseFlags>[0] = run): unknown {
  const parsed = parseFlags(command, words);
  return parsed.kind === 'given' ? [Object.fromEntries(parsed.given.flags), parsed.given.args] : parsed;
}

test.each<[string[], Record<string, string[]>, string[]]>([
  [['img'], {}, ['img']],
  [['-it', 'img', '-it', '--rm'], { interactive: ['true'], tty: ['true'] }, ['img', '-it', '--rm']],
  [
    ['-e', 'A=b', '-eC=d', '-e=E=f', '--env', 'G', '--env=H=', 'img'],
    { env: ['A=b', 'C=d', 'E=f', 'G', 'H='] },
    ['img'],
  ],
  [['-itm', '64m', 'img'], { interactive: ['true'], tty: ['true'], memory: ['64m'] }, ['img']],
  [['--rm=false', '--init=0', 'img'], { rm: ['false'], init: ['0'] }, ['img']],
  [['--memory-swap', '-1', '-m=6m', 'img'], { 'memory-swap': ['-1'], memory: ['6m'] }, ['img']],
  [['--', '-x', 'y'], {}, ['-x', 'y']],
  [['img', '--', '-x'], {}, ['img', '--', '-x']],
  [['-', '-x'], {}, ['-', '-x']],
  [['-h', 'web', 'img'], { hostname: ['web'] }, ['img']],
  [['--entrypoint', '', 'img'], { entrypoint: [''] }, ['img']],
  [['-p80:80', 'img'], { publish: ['80:80'] }, ['img']],
])('parseFlags() reads run %j', (words, flags, args) => {
  expect(given(words)).toEqual([flags, args]);
});

test('parseFlags() takes flags after words where the command does not stop at one', () => {
  const ps = { flags: [flag('-a, --all', ''), flag('-n, --last int', '')] };
  expect(given(['x', '-a', 'y', '-n', '3'], ps)).toEqual([{ all: ['true'], last: ['3'] }, ['x', 'y']]);
});

test.each([
  ['--nope', 'unknown flag: --nope'],
  ['--nope=1', 'unknown flag: --nope'],
  ['-9', "unknown shorthand flag: '9' in -9"],
  ['-i9', "unknown shorthand flag: '9' in -9"],
  ['-m', "flag needs an argument: 'm' in -m"],
  ['-itm', "flag needs an argument: 'm' in -m"],
  ['--memory', 'flag needs an argument: --memory'],
  ['--=x', 'bad flag syntax: --=x'],
  ['---x', 'bad flag syntax: ---x'],
])("parseFlags() refuses %s in Docker's words", (word, why) => {
  expect(given([word])).toEqual({ kind: 'bad', why });
});

test('parseFlags() knows --help everywhere, and -h where it is not a flag of its own', () => {
  expect(given(['--help'])).toEqual({ kind: 'help', deprecated: false });
  expect(given(['-h'], { flags: [] })).toEqual({ kind: 'help', deprecated: true });
  expect(given(['-h'])).toEqual({ kind: 'bad', why: "flag needs an argument: 'h' in -h" });
});

test.each([
  ['--rm=maybe', '--rm', 'strconv.ParseBool: parsing "maybe": invalid syntax'],
  ['--pids-limit=x', '--pids-limit', 'strconv.ParseInt: parsing "x": invalid syntax'],
  [
    '--pids-limit=99999999999999999999',
    '--pids-limit',
    'strconv.ParseInt: parsing "99999999999999999999": value out of range',
  ],
  ['--blkio-weight=-1', '--blkio-weight', 'strconv.ParseUint: parsing "-1": invalid syntax'],
  ['--blkio-weight=70000', '--blkio-weight', 'strconv.ParseUint: parsing "70000": value out of range'],
  ['--memory=3x', '-m, --memory', "invalid suffix: 'x'"],
  ['--memory=-5m', '-m, --memory', "invalid size: '-5m'"],
  ['--shm-size=x', '--shm-size', "invalid size: 'x'"],
  ['--cpus=abc', '--cpus', 'failed to parse abc as a rational number'],
  ['--sysctl=vm.swappiness=1', '--sysctl', "sysctl 'vm.swappiness=1' is not allowed"],
  ['--sysctl=net/../kernel/x=1', '--sysctl', "sysctl 'net/../kernel/x=1' is not allowed"],
  ['--dns=x', '--dns', 'IP address is not correctly formatted: x'],
  ['--dns=1.2.3.400', '--dns', 'IP address is not correctly formatted: 1.2.3.400'],
  ['--dns=1:2', '--dns', 'IP address is not correctly formatted: 1:2'],
  ['--device-cgroup-rule=x', '--device-cgroup-rule', "invalid device cgroup format 'x'"],
  ['--cpus=1/0', '--cpus', 'failed to parse 1/0 as a rational number'],
  ['--cpus=1/3', '--cpus', 'value is too precise'],
  ['--cpus=1e-10', '--cpus', 'value is too precise'],
  ['--cpus=1.12345678901', '--cpus', 'value is too precise'],
  ['--health-interval=x', '--health-interval', 'time: invalid duration "x"'],
  ['--ulimit=x', '--ulimit', 'invalid ulimit argument: x'],
  ['--ulimit=zz=1', '--ulimit', 'invalid ulimit type: zz'],
  ['--ulimit=nofile=1:x', '--ulimit', 'strconv.ParseInt: parsing "x": invalid syntax'],
  ['--ulimit=nofile=5:3', '--ulimit', 'ulimit soft limit must be less than or equal to hard limit: 5 > 3'],
  ['--mount=x', '--mount', "invalid field 'x' must be a key=value pair"],
  ['--mount=type=bind', '--mount', 'target is required'],
  ['--mount=type=tmpfs,dst=/b,size=1', '--mount', "unexpected key 'size' in 'size=1'"],
  ['--env=', '-e, --env', 'invalid environment variable: '],
  ['--env==x', '-e, --env', 'invalid environment variable: =x'],
  ['--label=', '-l, --label', "invalid label '': empty name"],
  ['--sysctl=x', '--sysctl', "sysctl 'x' is not allowed"],
  ['--add-host=x', '--add-host', 'bad format for add-host: "x"'],
  ['--device-read-bps=x', '--device-read-bps', 'bad format: x'],
  ['--device-read-bps=x:5', '--device-read-bps', 'bad format for device path: x:5'],
  [
    '--device-write-iops=/dev/vda:-1',
    '--device-write-iops',
    'invalid rate for device: /dev/vda:-1. The correct format is <device-path>:<number>. Number must be a positive integer',
  ],
  ['--blkio-weight-device=/dev/vda:5', '--blkio-weight-device', 'invalid weight for device: /dev/vda:5'],
  ['--attach=foo', '-a, --attach', 'valid streams are STDIN, STDOUT and STDERR'],
])("parseFlags() refuses the value of %s in Docker's words", (word, shown, why) => {
  const value = word.slice(word.indexOf('=') + 1);
  expect(given([word, 'img'])).toEqual({
    kind: 'bad',
    why: `invalid argument ${JSON.stringify(value)} for "${shown}" flag: ${why}`,
  });
});

test('no two flags share a name or a letter', () => {
  for (const flags of [RUN_FLAGS, CREATE_FLAGS]) {
    const names = flags.map((one) => one.name);
    const letters = flags.flatMap((one) => one.short ?? []);
    expect(new Set(names).size).toBe(names.length);
    expect(new Set(letters).size).toBe(letters.length);
    expect(flags.length).toBeGreaterThan(95);
  }
});
