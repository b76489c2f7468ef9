import { constants } from 'node:os';
import { expect, test } from 'vitest';
import { failed } from '../../../core/link/refusal.ts';

const { EACCES, EINVAL, ENOTDIR } = constants.errno;
const failure = (step: string, errno: number) => failed({ step, call: 'openat2', errno, detail: '' });

test.each([
  ['mount /t', ENOTDIR, 'a directory cannot be mounted onto a file'],
  ['bind /x: map the owners', EINVAL, 'has owners that cannot be mapped'],
  ['mount /x/y: make the mount point', EACCES, 'make it there, or give the directory to '],
  ['bind /x: attach', EINVAL, undefined],
  ['make the working directory /bin/sh', ENOTDIR, undefined],
])('failed() of %s, %d: the hint is about what was done', (step, errno, hint) => {
  const error = failure(step, errno);
  expect(error.message).toContain(step);
  if (hint === undefined) expect(error.hint).toBeUndefined();
  else expect(error.hint).toContain(hint);
});
