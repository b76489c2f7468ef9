import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  canonicalText,
  familiarText,
  parseReference,
  readReference,
  withDefaultTag,
} from '../../../core/spec/reference.ts';

const hex = 'f'.repeat(64);

describe('readReference() accepts', () => {
  test.each([
    ['busybox', 'docker.io/library/busybox', 'busybox'],
    ['busybox:1.36', 'docker.io/library/busybox:1.36', 'busybox:1.36'],
    ['library/busybox', 'docker.io/library/busybox', 'busybox'],
    ['docker.io/busybox', 'docker.io/library/busybox', 'busybox'],
    ['docker.io/library/busybox', 'docker.io/library/busybox', 'busybox'],
    ['index.docker.io/busybox', 'docker.io/library/busybox', 'busybox'],
    ['index.docker.io/user/app:v1', 'docker.io/user/app:v1', 'user/app:v1'],
    ['user/app', 'docker.io/user/app', 'user/app'],
    ['library/a/b', 'docker.io/library/a/b', 'library/a/b'],
    ['localhost/app', 'localhost/app', 'localhost/app'],
    ['localhost:5000/app:t', 'localhost:5000/app:t', 'localhost:5000/app:t'],
    ['127.0.0.1:5000/a/b/c:t', '127.0.0.1:5000/a/b/c:t', '127.0.0.1:5000/a/b/c:t'],
    ['[::1]:5000/app', '[::1]:5000/app', '[::1]:5000/app'],
    ['registry.example.com/App'.toLowerCase(), 'registry.example.com/app', 'registry.example.com/app'],
    ['Host/app', 'Host/app', 'Host/app'],
    ['xn--n3h.com/app', 'xn--n3h.com/app', 'xn--n3h.com/app'],
    ['a__b-c---d/x_y.z', 'docker.io/a__b-c---d/x_y.z', 'a__b-c---d/x_y.z'],
    ['docker.io/a.b/c', 'docker.io/a.b/c', 'docker.io/a.b/c'],
    [`busybox@sha256:${hex}`, `docker.io/library/busybox@sha256:${hex}`, `busybox@sha256:${hex}`],
    [`host.x/busybox:1@sha256:${hex}`, `host.x/busybox:1@sha256:${hex}`, `host.x/busybox:1@sha256:${hex}`],
    ['app:5000', 'docker.io/library/app:5000', 'app:5000'],
    [`app:${'t'.repeat(128)}`, `docker.io/library/app:${'t'.repeat(128)}`, `app:${'t'.repeat(128)}`],
  ])('%s', (given, canonical, familiar) => {
    const reference = parseReference(given);
    expect([canonicalText(reference), familiarText(reference)]).toEqual([canonical, familiar]);
  });
});

describe('readReference() refuses', () => {
  test.each([
    ['', 'invalid reference format'],
    [' busybox', 'invalid reference format'],
    ['busybox ', 'invalid reference format'],
    ['busybox\n', 'invalid reference format'],
    [':tag', 'invalid reference format'],
    ['busybox:', 'invalid reference format'],
    ['busybox:-x', 'invalid reference format'],
    ['busybox@', 'invalid reference format'],
    ['/busybox', 'invalid reference format'],
    ['a//b', 'invalid reference format'],
    ['a/', 'invalid reference format'],
    ['-a/b', 'invalid reference format'],
    ['a..b/c', 'invalid reference format'],
    ['a/b_', 'invalid reference format'],
    ['a___b', 'invalid reference format'],
    ['http://host/app', 'invalid reference format'],
    ['../../etc/passwd', 'invalid reference format'],
    ['host.x/../app', 'invalid reference format'],
    [`app:${'t'.repeat(129)}`, 'invalid reference format'],
    ['Busybox', 'invalid reference format: repository name (library/Busybox) must be lowercase'],
    ['host.x/App:T', 'invalid reference format: repository name (App) must be lowercase'],
    ['user/App', 'invalid reference format: repository name (user/App) must be lowercase'],
    [hex, `invalid repository name (${hex}), cannot specify 64-byte hexadecimal strings`],
    ['a@sha256:abc', 'invalid reference format'],
    [`a@sha256:${'f'.repeat(40)}`, 'invalid checksum digest length'],
    [`a@sha256:${'F'.repeat(64)}`, 'invalid checksum digest format'],
    [`a@md5:${'f'.repeat(32)}`, 'unsupported digest algorithm'],
    ['a/'.repeat(150).slice(0, -1), 'repository name must not be more than 255 characters'],
    ['a'.repeat(5000), 'invalid reference format'],
  ])('%j', (given, why) => {
    expect(readReference(given)).toEqual({ kind: 'bad', why });
    expect(() => parseReference(given)).toThrow(expect.objectContaining({ code: 'bad_parameter', message: why }));
  });
});

test('withDefaultTag() adds latest only where there is neither tag nor digest', () => {
  const shown = (text: string): string => familiarText(withDefaultTag(parseReference(text)));
  expect([shown('a'), shown('a:b'), shown(`a@sha256:${hex}`)]).toEqual(['a:latest', 'a:b', `a@sha256:${hex}`]);
});

test('both texts of any reference parse back to it', () => {
  const part = fc.stringMatching(/^[a-z0-9]{1,6}([._-][a-z0-9]{1,4})?$/);
  const host = fc.constantFrom('', 'localhost/', 'h.x/', '10.0.0.1:5000/', 'docker.io/', 'index.docker.io/', '[::1]/');
  const tag = fc.option(fc.stringMatching(/^\w[\w.-]{0,10}$/), { nil: undefined });
  fc.assert(
    fc.property(host, fc.array(part, { minLength: 1, maxLength: 4 }), tag, (h, parts, t) => {
      const reference = parseReference(`${h}${parts.join('/')}${t === undefined ? '' : `:${t}`}`);
      expect(parseReference(canonicalText(reference))).toEqual(reference);
      expect(parseReference(familiarText(reference))).toEqual(reference);
    }),
  );
});
