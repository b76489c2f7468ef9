// Every cell of the CMD/ENTRYPOINT matrix, as Docker 20.10 was seen to run them.
import { describe, expect, test } from 'vitest';
import { planArgv } from '../../../core/plan/argv.ts';

const shell = (text: string): string[] => ['/bin/sh', '-c', text];
const CMD = {
  'no CMD': undefined,
  'CMD echo C1': shell('echo C1'),
  'CMD ["echo","C1"]': ['echo', 'C1'],
  'CMD ["C1"]': ['C1'],
} as const;
const ENTRYPOINT = {
  'no ENTRYPOINT': undefined,
  'ENTRYPOINT echo E1': shell('echo E1'),
  'ENTRYPOINT ["echo","E1"]': ['echo', 'E1'],
} as const;
const ARG = ['echo', 'ARG'];
const E1_SHELL = shell('echo E1');

// For each cell: `run IMG`, then `run IMG echo ARG`.
const MATRIX: Record<keyof typeof ENTRYPOINT, Record<keyof typeof CMD, [string[] | string, string[]]>> = {
  'no ENTRYPOINT': {
    'no CMD': ['No command specified', ARG],
    'CMD echo C1': [shell('echo C1'), ARG],
    'CMD ["echo","C1"]': [['echo', 'C1'], ARG],
    'CMD ["C1"]': [['C1'], ARG],
  },
  // A shell reads the words after its text as $0, $1 …: the same `echo E1` is printed in each cell.
  'ENTRYPOINT echo E1': {
    'no CMD': [E1_SHELL, [...E1_SHELL, ...ARG]],
    'CMD echo C1': [
      [...E1_SHELL, ...shell('echo C1')],
      [...E1_SHELL, ...ARG],
    ],
    'CMD ["echo","C1"]': [
      [...E1_SHELL, 'echo', 'C1'],
      [...E1_SHELL, ...ARG],
    ],
    'CMD ["C1"]': [
      [...E1_SHELL, 'C1'],
      [...E1_SHELL, ...ARG],
    ],
  },
  'ENTRYPOINT ["echo","E1"]': {
    'no CMD': [
      ['echo', 'E1'],
      ['echo', 'E1', ...ARG],
    ],
    'CMD echo C1': [
      ['echo', 'E1', ...shell('echo C1')],
      ['echo', 'E1', ...ARG],
    ],
    'CMD ["echo","C1"]': [
      ['echo', 'E1', 'echo', 'C1'],
      ['echo', 'E1', ...ARG],
    ],
    'CMD ["C1"]': [
      ['echo', 'E1', 'C1'],
      ['echo', 'E1', ...ARG],
    ],
  },
};

const cells = Object.entries(MATRIX).flatMap(([entrypoint, row]) =>
  Object.entries(row).flatMap(([cmd, [bare, withArg]]) => [
    { entrypoint, cmd, words: undefined as string[] | undefined, expected: bare },
    { entrypoint, cmd, words: ARG as string[] | undefined, expected: withArg },
  ]),
);

function plan(image: { entrypoint: readonly string[] | undefined; cmd: readonly string[] | undefined }, user = {}) {
  return planArgv({ image, user: { entrypoint: undefined, cmd: undefined, ...user } }).value;
}

describe('planArgv()', () => {
  test('there are 24 cells', () => {
    expect(cells).toHaveLength(24);
  });

  test.each(cells)('$entrypoint, $cmd, run IMG $words', ({ entrypoint, cmd, words, expected }) => {
    const image = {
      entrypoint: ENTRYPOINT[entrypoint as keyof typeof ENTRYPOINT],
      cmd: CMD[cmd as keyof typeof CMD],
    };
    if (typeof expected === 'string') expect(() => plan(image, { cmd: words })).toThrow(expected);
    else expect(plan(image, { cmd: words })).toEqual(expected);
  });

  const image = { entrypoint: ['echo', 'E1'], cmd: ['C1'] };
  test.each([
    ['--entrypoint X drops the CMD of the image', { entrypoint: ['/bin/ls'] }, ['/bin/ls']],
    ['--entrypoint X takes the words of the user', { entrypoint: ['ls'], cmd: ['-l', '/'] }, ['ls', '-l', '/']],
    ['--entrypoint is one executable, never a line', { entrypoint: ['ls -l'] }, ['ls -l']],
    ['--entrypoint "" leaves the words of the user alone', { entrypoint: [''], cmd: ['id'] }, ['id']],
    ['an empty list takes the ENTRYPOINT away and keeps the CMD', { entrypoint: [] }, ['C1']],
    ['an empty CMD of the user is none', { cmd: [] }, ['echo', 'E1', 'C1']],
    [
      'words with spaces and quotes stay as they are',
      { cmd: ['a b', `it's`, '"'] },
      ['echo', 'E1', 'a b', `it's`, '"'],
    ],
  ])('%s', (_, user, expected) => {
    expect(plan(image, user)).toEqual(expected);
  });

  test.each([
    ['--entrypoint "" without words', { entrypoint: [''] }, 'No command specified'],
    ['an empty first word', { entrypoint: ['', 'x'] }, 'exec: "": executable file not found in $PATH'],
  ])('%s is refused', (_, user, message) => {
    expect(() => plan(image, user)).toThrow(message);
  });

  test('the reason names the cell', () => {
    const { reasons } = planArgv({ image, user: { entrypoint: ['x'], cmd: undefined } });
    expect(reasons).toEqual([{ about: 'argv', text: 'ENTRYPOINT of the user, no CMD' }]);
  });
});
