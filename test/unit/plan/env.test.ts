import { describe, expect, test } from 'vitest';
import { DEFAULT_PATH, planEnv } from '../../../core/plan/env.ts';

const BASE = { image: [], user: [], exec: [], hostname: 'h', tty: false, home: '/root' };
const plan = (over: Partial<Parameters<typeof planEnv>[0]>) => planEnv({ ...BASE, ...over }).value;

describe('planEnv()', () => {
  test.each([
    ['defaults', {}, [`PATH=${DEFAULT_PATH}`, 'HOSTNAME=h', 'HOME=/root']],
    ['TERM with a tty', { tty: true }, [`PATH=${DEFAULT_PATH}`, 'HOSTNAME=h', 'TERM=xterm', 'HOME=/root']],
    [
      'PATH of the image in its place',
      { image: ['A=1', 'PATH=/bin'] },
      ['PATH=/bin', 'HOSTNAME=h', 'A=1', 'HOME=/root'],
    ],
    [
      'the user first, the image after',
      { image: ['A=i', 'B=i'], user: ['C=u', 'A=u'] },
      [`PATH=${DEFAULT_PATH}`, 'HOSTNAME=h', 'C=u', 'A=u', 'B=i', 'HOME=/root'],
    ],
    ['HOME of the user', { user: ['HOME=/h'] }, [`PATH=${DEFAULT_PATH}`, 'HOSTNAME=h', 'HOME=/h']],
    ['a name alone takes away', { image: ['A=1'], user: ['A', 'HOSTNAME'] }, [`PATH=${DEFAULT_PATH}`, 'HOME=/root']],
    [
      'an exec over all',
      { image: ['A=i'], user: ['B=u'], exec: ['A=e', 'N=e'] },
      [`PATH=${DEFAULT_PATH}`, 'HOSTNAME=h', 'B=u', 'A=e', 'N=e', 'HOME=/root'],
    ],
    [
      'values with = and without text',
      { user: ['A==b=', 'E='] },
      [`PATH=${DEFAULT_PATH}`, 'HOSTNAME=h', 'A==b=', 'E=', 'HOME=/root'],
    ],
    ['the last of two wins', { user: ['A=1', 'A=2'] }, [`PATH=${DEFAULT_PATH}`, 'HOSTNAME=h', 'A=2', 'HOME=/root']],
  ])('%s', (_, over, expected) => {
    expect(plan(over)).toEqual(expected);
  });

  test.each(['=x', '', 'A=\0'])('%j is refused', (variable) => {
    expect(() => plan({ user: [variable] })).toThrow('invalid environment variable');
  });

  test('a variable without a name in an image is passed over', () => {
    expect(plan({ image: ['=x', ''] })).toEqual(plan({}));
  });
});
