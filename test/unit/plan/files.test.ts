import { describe, expect, test } from 'vitest';
import { planContainer } from '../../../core/plan/container.ts';
import { baseFacts, donorFacts, ID, intent } from '../../cases/load.ts';

const facts = baseFacts({
  joined: { donor: donorFacts({ domainname: 'd.example', hosts: 'theirs\n', resolvConf: 'theirs too\n' }) },
});
const plan = (body: Record<string, unknown>) => planContainer(intent(body), facts).launch;

function texts(body: Record<string, unknown>): Record<string, string> {
  const files = plan(body).mounts.flatMap((mount) =>
    mount.source?.$case === 'file' ? [[mount.target, mount.source.value.content.toString()]] : [],
  );
  return Object.fromEntries(files);
}

const LOCAL =
  '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n';
const SHORT = ID.slice(0, 12);

describe('planNames() and planFiles()', () => {
  test.each([
    [{}, SHORT, '', SHORT],
    [{ Hostname: 'web' }, 'web', '', 'web'],
    [{ Hostname: 'web', Domainname: 'example.org' }, 'web', 'example.org', 'web'],
    [{ HostConfig: { NetworkMode: 'host' } }, 'harbour', '', 'harbour'],
    [{ Hostname: 'web', HostConfig: { NetworkMode: 'host' } }, 'web', '', 'web'],
    [{ HostConfig: { UTSMode: 'host' } }, '', '', 'harbour'],
    [{ HostConfig: { NetworkMode: 'container:donor' } }, 'donor', 'd.example', 'donor'],
    [{ HostConfig: { UTSMode: 'container:donor' } }, '', '', 'donor'],
  ])('%j', (body, hostname, domainname, seen) => {
    const { hostname: set, domainname: domain, process: who } = plan(body);
    expect([set, domain]).toEqual([hostname, domainname]);
    expect(who?.env).toContain(`HOSTNAME=${seen}`);
    expect(texts(body)['/etc/hostname']).toBe(`${seen}\n`);
  });

  test('hosts and resolv.conf without a network', () => {
    expect(texts({})).toMatchObject({
      '/etc/hosts': LOCAL,
      '/etc/resolv.conf': 'nameserver 192.0.2.53\nsearch example.org\n',
    });
  });

  test("--network=host has the host's", () => {
    expect(texts({ HostConfig: { NetworkMode: 'host' } })).toMatchObject({
      '/etc/hosts': '127.0.0.1\tlocalhost\n192.0.2.7\tharbour\n',
      '/etc/resolv.conf': 'nameserver 192.0.2.53\nnameserver 127.0.0.53\nsearch example.org\n',
    });
  });

  test('--network=container:donor has those of the donor', () => {
    expect(texts({ HostConfig: { NetworkMode: 'container:donor' } })).toMatchObject({
      '/etc/hosts': 'theirs\n',
      '/etc/resolv.conf': 'theirs too\n',
    });
  });

  test('--add-host and --dns', () => {
    const host = {
      ExtraHosts: ['db:192.0.2.1', 'six:2001:db8::1', 'brackets=[::2]'],
      Dns: ['192.0.2.2'],
      DnsSearch: ['a.example', 'b.example'],
      DnsOptions: ['ndots:2'],
    };
    const found = texts({ HostConfig: host });
    expect(found['/etc/hosts']).toBe(`${LOCAL}192.0.2.1\tdb\n2001:db8::1\tsix\n::2\tbrackets\n`);
    expect(found['/etc/resolv.conf']).toBe('nameserver 192.0.2.2\nsearch a.example b.example\noptions ndots:2\n');
    expect(texts({ HostConfig: { DnsSearch: ['.'] } })['/etc/resolv.conf']).toBe('nameserver 192.0.2.53\n');
  });

  test.each([
    [{ Hostname: 'x'.repeat(65) }, 'is too long (maximum 64 bytes)'],
    [{ Hostname: 'a b' }, 'invalid hostname "a b"'],
    [{ Domainname: 'a/b' }, 'invalid domainname "a/b"'],
    [{ Hostname: 'x', HostConfig: { UTSMode: 'host' } }, 'conflicting options: hostname and the UTS mode'],
    [
      { Hostname: 'x', HostConfig: { NetworkMode: 'container:donor' } },
      'conflicting options: hostname and the network mode',
    ],
    [
      { HostConfig: { NetworkMode: 'container:donor', Dns: ['192.0.2.1'] } },
      'conflicting options: dns and the network mode',
    ],
    [
      { HostConfig: { NetworkMode: 'container:donor', ExtraHosts: ['a:192.0.2.1'] } },
      'conflicting options: custom host-to-IP mapping and the network mode',
    ],
    [{ HostConfig: { ExtraHosts: ['nope'] } }, 'bad format for add-host: "nope"'],
    [{ HostConfig: { ExtraHosts: ['a:300.0.0.1'] } }, 'invalid IP address in add-host: "300.0.0.1"'],
    [{ HostConfig: { ExtraHosts: ['a:host-gateway'] } }, 'host-gateway needs a network'],
    [{ HostConfig: { ExtraHosts: ['a\nb:192.0.2.1'] } }, 'bad format for add-host'],
    [{ HostConfig: { Dns: ['x'] } }, 'invalid DNS IP address: x'],
    [{ HostConfig: { DnsOptions: ['a\nnameserver 1'] } }, 'invalid DNS word'],
  ])('%j is refused', (body, message) => {
    expect(() => plan(body)).toThrow(message);
  });
});
