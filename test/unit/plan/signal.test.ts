import { describe, expect, test } from 'vitest';
import { parseSignal, signalName } from '../../../core/plan/signal.ts';

describe('parseSignal()', () => {
  test.each([
    ['TERM', 15],
    ['SIGTERM', 15],
    ['sigkill', 9],
    ['15', 15],
    ['64', 64],
    ['CLD', 17],
    ['IOT', 6],
    ['POLL', 29],
    ['RTMIN', 34],
    ['SIGRTMIN+3', 37],
    ['RTMIN+15', 49],
    ['RTMAX-14', 50],
    ['SIGRTMAX', 64],
  ])('%s is %i', (text, expected) => {
    expect(parseSignal(text)).toBe(expected);
  });

  test.each(['', '0', '-1', '65', 'SIG', 'NOPE', 'RTMIN+16', 'RTMAX-15', 'RTMIN-1', 'RTMAX+1', '9x', 'toString'])(
    '%j is refused',
    (text) => {
      expect(() => parseSignal(text)).toThrow(`invalid signal: ${text}`);
    },
  );

  test('signalName() gives the usual name', () => {
    expect([1, 6, 9, 15, 37].map(signalName)).toEqual(['SIGHUP', 'SIGABRT', 'SIGKILL', 'SIGTERM', '37']);
  });
});
