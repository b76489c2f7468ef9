import { describe, expect, test } from 'vitest';
import {
  normalPlatform,
  type Platform,
  parsePlatform,
  platformRank,
  platformText,
} from '../../../core/spec/platform.ts';

const platform = (text: string): Platform => {
  const [os = '', architecture = '', variant = ''] = text.split('/');
  return { os, architecture, variant };
};
const host = platform('linux/amd64');

test.each([
  ['linux/amd64', 'linux/amd64'],
  ['Linux/x86_64', 'linux/amd64'],
  ['linux/amd64/v1', 'linux/amd64'],
  ['linux/amd64/v3', 'linux/amd64/v3'],
  ['linux/arm64/v8', 'linux/arm64'],
  ['linux/aarch64', 'linux/arm64'],
  ['linux/arm64/8', 'linux/arm64'],
  ['linux/arm', 'linux/arm/v7'],
  ['linux/armhf', 'linux/arm/v7'],
  ['linux/armel', 'linux/arm/v6'],
  ['linux/arm/6', 'linux/arm/v6'],
  ['linux/i686', 'linux/386'],
  ['arm64', 'linux/arm64'],
  ['s390x', 'linux/s390x'],
  ['linux', 'linux/amd64'],
  ['windows', 'windows/amd64'],
])('parsePlatform(%j) is %s', (given, expected) => {
  expect(platformText(parsePlatform(given, host))).toBe(expected);
  expect(normalPlatform(parsePlatform(given, host))).toEqual(parsePlatform(given, host));
});

test.each([
  ['x', '"x": unknown operating system or architecture: invalid argument'],
  [
    '',
    '"" is an invalid component of "": platform specifier component must match "^[A-Za-z0-9_.-]+$": invalid argument',
  ],
  ['a/b/c/d', '"a/b/c/d": cannot parse platform specifier: invalid argument'],
  [
    'linux/',
    '"" is an invalid component of "linux/": platform specifier component must match "^[A-Za-z0-9_.-]+$": invalid argument',
  ],
  [
    'linux/a b',
    '"a b" is an invalid component of "linux/a b": platform specifier component must match "^[A-Za-z0-9_.-]+$": invalid argument',
  ],
])('parsePlatform(%j) is refused', (given, message) => {
  expect(() => parsePlatform(given, host)).toThrow(expect.objectContaining({ code: 'bad_parameter', message }));
});

describe('platformRank()', () => {
  test.each([
    ['linux/amd64', 'linux/amd64', 0],
    ['linux/amd64', 'linux/amd64/v2', undefined],
    ['linux/amd64/v3', 'linux/amd64/v2', 1],
    ['linux/amd64/v3', 'linux/amd64', 2],
    ['linux/arm64', 'linux/arm64/v8', 0],
    ['linux/arm64/v9', 'linux/arm64', 1],
    ['linux/arm64', 'linux/arm/v7', undefined],
    ['linux/arm/v7', 'linux/arm/v6', 1],
    ['linux/arm/v6', 'linux/arm/v7', undefined],
    ['linux/arm', 'linux/arm/v5', 2],
    ['linux/amd64', 'windows/amd64', undefined],
    ['linux/ppc64le', 'linux/ppc64le/power9', undefined],
  ])('%s runs %s: %j', (want, have, rank) => {
    expect(platformRank(platform(want), platform(have))).toBe(rank);
  });
});
