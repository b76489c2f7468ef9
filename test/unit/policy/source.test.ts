import { describe, expect, test } from 'vitest';
import { CliError } from '../../../core/cli/error.ts';
import { DEFAULT_POLICY_TEXT } from '../../../core/cli/policy-default.ts';
import { compilePolicy } from '../../../core/cli/policy-source.ts';
import { canonicalJson } from '../../../proto/policy/canonical.ts';
import { CEILING_NAMES, DEFAULT_PROFILE } from '../../../proto/policy/profile.ts';
import { policyProblem, principalProblem } from '../../../proto/policy/problem.ts';
import { DEFAULT_POLICY } from '../../../proto/policy/schema.ts';

const HEAD = 'version: 1\nselfEnrol: false\nselfEnrolProfiles: []\nprofiles:\n';
const compile = (text: string) => compilePolicy(text, 'p.yaml').policy;
const failure = (text: string): string => {
  try {
    compile(text);
  } catch (error) {
    return error instanceof CliError ? error.message : String(error);
  }
  return 'compiled';
};

describe('compilePolicy()', () => {
  test('makes of the text for a fresh machine what is in force without it, with every ceiling written out', () => {
    expect(compile(DEFAULT_POLICY_TEXT)).toEqual(DEFAULT_POLICY);
    for (const name of CEILING_NAMES) expect(DEFAULT_POLICY_TEXT).toMatch(new RegExp(`^ {4}${name}: `, 'm'));
    expect(DEFAULT_POLICY_TEXT.split('\n').filter((line) => line.length > 150)).toEqual([]);
  });

  test('the example in its comments is a profile', () => {
    const text = DEFAULT_POLICY_TEXT.replaceAll(
      /^ {2}# {0,3}(host:|extends|hostNamespaces|devices:|bindDenied|bindOwned)/gm,
      (line, word) => (line.startsWith('  #   ') ? `    ${word}` : `  ${word}`),
    );
    expect(compile(text).profiles['host']?.hostNamespaces).toEqual(['*']);
  });

  test('extends another profile above, or the built-in default', () => {
    const text = `${HEAD}  small:\n    extends: default\n    memoryBytesMax: 512m\n    pidsMax: 10\n  smaller:\n    extends: small\n    pidsMax: 5\n`;
    const { small, smaller } = compile(text).profiles;
    expect(small).toEqual({ ...DEFAULT_PROFILE, memoryBytesMax: 512 << 20, pidsMax: 10 });
    expect(smaller).toEqual({ ...small, pidsMax: 5 });
  });

  const x = `${HEAD}  x:\n    extends: default\n`;
  test.each<[string, string, string]>([
    ['a key nobody knows', `${x}    ttty: true\n`, 'p.yaml:7: profiles.x.ttty: unknown key (did you mean tty?)'],
    ['a key far from all', `${x}    color: red\n`, 'p.yaml:7: profiles.x.color: unknown key'],
    ['a key nobody knows at the top', `${HEAD}  x: {extends: default}\nversoin: 1\n`, 'p.yaml:6: versoin: unknown key'],
    ['a key twice', `${x}    tty: true\n    tty: false\n`, 'p.yaml:8: Map keys must be unique'],
    [
      'a ceiling that is missing',
      `${HEAD}  x:\n    tty: true\n`,
      'p.yaml:5: profiles.x.verbs: is missing: give it, or write `extends: default` for what is not given',
    ],
    ['a word for a flag', `${x}    tty: yes\n`, 'p.yaml:7: profiles.x.tty: must be true or false'],
    [
      'a word of another list',
      `${x}    seccomp: none\n`,
      'p.yaml:7: profiles.x.seccomp: must be one of default, unconfined',
    ],
    [
      'a size that is none',
      `${x}    memoryBytesMax: 12parsec\n`,
      'p.yaml:7: profiles.x.memoryBytesMax: must be a number from 0, or unlimited',
    ],
    [
      'a size for what has no bytes',
      `${x}    pidsMax: 12m\n`,
      'p.yaml:7: profiles.x.pidsMax: must be a number from 0, or unlimited',
    ],
    [
      'a number below 0',
      `${x}    pidsMax: -1\n`,
      'p.yaml:7: profiles.x.pidsMax: must be a number from 0, or unlimited',
    ],
    [
      'a path that is not absolute',
      `${x}    bindRead:\n      - /srv\n      - srv\n`,
      'p.yaml:9: profiles.x.bindRead.1: must be an absolute path without empty, . or .. parts',
    ],
    [
      'a path that ends in /',
      `${x}    bindDenied: [/etc/]\n`,
      'p.yaml:7: profiles.x.bindDenied.0: must be an absolute path without empty, . or .. parts',
    ],
    [
      'a path with ..',
      `${x}    bindDenied: [/etc/../x]\n`,
      'p.yaml:7: profiles.x.bindDenied.0: must be an absolute path without empty, . or .. parts',
    ],
    ['an element twice', `${x}    sysctls: [a, a]\n`, 'p.yaml:7: profiles.x.sysctls.1: is there already'],
    ['a list that is none', `${x}    sysctls: a\n`, 'p.yaml:7: profiles.x.sysctls: must be a list'],
    ['a profile that is no map', `${HEAD}  x: 3\n`, 'p.yaml:5: profiles.x: must be a map of ceilings'],
    [
      'a profile that extends one below',
      `${HEAD}  x:\n    extends: y\n  y:\n    extends: default\n`,
      'p.yaml:6: profiles.x.extends: no profile y above this one',
    ],
    ['no profiles', 'version: 1\n', 'p.yaml:1: profiles: must be a map of profiles by name'],
    ['another version', `${x}`.replace('version: 1', 'version: 2'), 'p.yaml:1: version: must be 1'],
    ['no selfEnrol', x.replace('selfEnrol: false\n', ''), 'p.yaml:1: selfEnrol: is missing'],
    [
      'a profile for newcomers that is none',
      x.replace('selfEnrolProfiles: []', 'selfEnrolProfiles: [y]'),
      'p.yaml:3: selfEnrolProfiles: no profile y',
    ],
    [
      'an alias',
      `${HEAD}  x: &a {extends: default}\n  y: *a\n`,
      'p.yaml:1: aliases are not allowed: write the value where it belongs',
    ],
    ['no map', '- 1\n', 'p.yaml:1: must be a map'],
    ['nothing', '', 'p.yaml:1: must be a map'],
    [
      'no YAML',
      `${x}    tty: [true\n`,
      'p.yaml:8: Flow sequence in block collection must be sufficiently indented and end with a ]',
    ],
    ['a tag', `${x}    tty: !!js/function x\n`, 'p.yaml:7: Unresolved tag: tag:yaml.org,2002:js/function'],
    [
      'a test without a profile',
      `${x}tests:\n  - {run: [a], allowed: true}\n`,
      'p.yaml:8: tests.0.profile: must be a profile of this file',
    ],
    [
      'a test with another key',
      `${x}tests:\n  - {profile: x, run: [a], allow: true}\n`,
      'p.yaml:8: tests.0.allow: unknown key',
    ],
    [
      'a test that names a rule and allows',
      `${x}tests:\n  - {profile: x, run: [a], allowed: true, rule: tty}\n`,
      'p.yaml:8: tests.0.rule: must be the name of a rule that refuses',
    ],
  ])('%s is refused with file and line', (_name, text, message) => {
    expect(failure(text)).toBe(message);
  });
});

describe('the schema of compiled files', () => {
  const key = { key: 'ab'.repeat(32), role: 'user', notAfter: 'never' };
  const good = { uid: 1000, keys: [key], profiles: ['default'], quota: { containersMax: 3 } };
  test.each<[string, unknown, string | undefined]>([
    ['a principal', good, undefined],
    ['with an end', { ...good, keys: [{ ...key, notAfter: '2030-12-31T00:00:00Z' }] }, undefined],
    ['no uid', { ...good, uid: 2 ** 32 - 1 }, 'uid must be a uid'],
    ['a short key', { ...good, keys: [{ ...key, key: 'ab' }] }, 'keys.0.key must be 64 hexadecimal digits'],
    ['another role', { ...good, keys: [{ ...key, role: 'root' }] }, 'keys.0.role must be user or broker'],
    [
      'another time',
      { ...good, keys: [{ ...key, notAfter: 'tomorrow' }] },
      'keys.0.notAfter must be a time such as 2030-12-31T00:00:00Z, or never',
    ],
    ['a quota of what is no number', { ...good, quota: { tty: 3 } }, 'quota.tty unknown key'],
    [
      'a profile with a slash',
      { ...good, profiles: ['a/b'] },
      'profiles.0 must be a name of letters, digits, dots, dashes and underscores',
    ],
    ['null', null, ' must be a map'],
    ['a list', [], ' must be a map'],
  ])('%s', (_name, value, problem) => {
    const found = principalProblem(value);
    expect(found && `${found.path.join('.')} ${found.message}`).toBe(problem);
  });

  test('takes the default policy, and none that lacks one ceiling', () => {
    expect(policyProblem(DEFAULT_POLICY)).toBeUndefined();
    for (const name of CEILING_NAMES) {
      const { [name]: _, ...rest } = DEFAULT_PROFILE;
      const policy = { ...DEFAULT_POLICY, profiles: { default: rest } };
      expect(policyProblem(policy)).toEqual({ path: ['profiles', 'default', name], message: 'is missing' });
    }
  });

  test('a name from the prototype is an unknown key', () => {
    const text =
      '{"__proto__":{"x":1},"constructor":1,"profiles":{},"selfEnrol":true,"selfEnrolProfiles":[],"version":1}';
    expect(policyProblem(JSON.parse(text))?.message).toBe('unknown key');
  });
});

test('canonicalJson() has one text for equal values', () => {
  expect(canonicalJson({ b: [2, { d: 1, c: null }], a: 'x' })).toBe('{"a":"x","b":[2,{"c":null,"d":1}]}\n');
  expect(canonicalJson({ a: 'x', b: [2, { c: null, d: 1 }] })).toBe('{"a":"x","b":[2,{"c":null,"d":1}]}\n');
});
