// The texts of /etc/hostname, /etc/hosts and /etc/resolv.conf, and the host name itself.
import type { ContainerCreateBody } from '../spec/docker-api.ts';
import type { Facts, JoinedFacts } from './facts.ts';
import { containerRef, networkKind } from './modes.ts';
import { short } from './namespaces.ts';
import { refuse } from './reason.ts';

export type GeneratedFile = { readonly text: string; readonly why: string };
export type GeneratedFiles = {
  readonly hostname: GeneratedFile;
  readonly hosts: GeneratedFile;
  readonly resolvConf: GeneratedFile;
};
export type Names = { readonly hostname: string; readonly domainname: string; readonly why: string };

const NAME_BYTES_MAX = 64; // HOST_NAME_MAX of linux/limits.h

/**
 * The names the container sees: its own, the host's with --network=host or --uts=host, those of the container whose network it shares.
 * Throws bad_parameter with Docker's texts. Source: moby, daemon/container_operations_unix.go and internal/runconfig/hostconfig_unix.go.
 */
export function planNames(body: ContainerCreateBody, facts: Facts): Names {
  const { NetworkMode: network, UTSMode: uts } = body.HostConfig;
  const kind = networkKind(network);
  if (kind === 'container' && body.Hostname !== '') refuse('conflicting options: hostname and the network mode');
  if (uts === 'host' && body.Hostname !== '') refuse('conflicting options: hostname and the UTS mode');
  checkName('hostname', body.Hostname);
  checkName('domainname', body.Domainname);
  const sharing = sharedWith(containerRef(uts) ?? containerRef(network), facts);
  const domainname = body.Domainname;
  if (sharing !== undefined) {
    const { hostname, domainname: theirs } = sharing;
    return { hostname, domainname: domainname === '' ? theirs : domainname, why: `those of ${short(sharing.id)}` };
  }
  if (body.Hostname !== '') return { hostname: body.Hostname, domainname, why: '--hostname' };
  if (uts === 'host' || kind === 'host') return { hostname: facts.host.hostname, domainname, why: "the host's" };
  return { hostname: short(facts.id), domainname, why: 'the first digits of the id' };
}

function sharedWith(ref: string | undefined, facts: Facts): JoinedFacts | undefined {
  return ref !== undefined && Object.hasOwn(facts.joined, ref) ? facts.joined[ref] : undefined;
}

function checkName(noun: string, name: string): void {
  const bytes = new TextEncoder().encode(name).length;
  if (bytes > NAME_BYTES_MAX) refuse(`${noun} "${name}" is too long (maximum ${NAME_BYTES_MAX} bytes)`);
  if (!/^[A-Za-z0-9._-]*$/.test(name)) {
    refuse(`invalid ${noun} "${name}": letters, digits, dots, dashes and underscores only`);
  }
}

const LOCALHOST = [
  '127.0.0.1\tlocalhost',
  '::1\tlocalhost ip6-localhost ip6-loopback',
  'fe00::\tip6-localnet',
  'ff00::\tip6-mcastprefix',
  'ff02::1\tip6-allnodes',
  'ff02::2\tip6-allrouters',
];

/** The three files. Source: moby, daemon/libnetwork/etchosts/etchosts.go and internal/resolvconf. */
export function planFiles(body: ContainerCreateBody, facts: Facts, names: Names): GeneratedFiles {
  const { NetworkMode: network, ExtraHosts: extra, Dns, DnsSearch, DnsOptions } = body.HostConfig;
  const kind = networkKind(network);
  const added = (extra ?? []).map(readExtraHost);
  const dns = [...(Dns ?? []), ...(DnsSearch ?? []), ...(DnsOptions ?? [])];
  const hostname = { text: `${names.hostname}\n`, why: names.why };
  const sharing = kind === 'container' ? sharedWith(containerRef(network), facts) : undefined;
  if (kind === 'container') {
    if ((Dns ?? []).length > 0) refuse('conflicting options: dns and the network mode');
    if (added.length > 0) refuse('conflicting options: custom host-to-IP mapping and the network mode');
  }
  if (sharing !== undefined) {
    const why = `as ${short(sharing.id)} has it: the network is shared`;
    return { hostname, hosts: { text: sharing.hosts, why }, resolvConf: { text: sharing.resolvConf, why } };
  }
  const base = kind === 'host' ? facts.host.hosts.trimEnd() : LOCALHOST.join('\n');
  const hosts = {
    text: `${[base, ...added].join('\n')}\n`,
    why: kind === 'host' ? "the host's, --network=host" : 'localhost only: no network',
  };
  const why = dns.length > 0 ? "the host's with --dns options over it" : "the host's";
  return { hostname, hosts, resolvConf: { text: resolvConf(body, facts, kind === 'host'), why } };
}

/** `name:address` or `name=address`. Source: docker/cli opts/hosts.go. */
function readExtraHost(text: string): string {
  const at = text.search(/[:=]/);
  const name = text.slice(0, at);
  const address = text.slice(at + 1).replace(/^\[(.*)\]$/, '$1');
  if (at <= 0 || !/^[A-Za-z0-9._-]+$/.test(name)) refuse(`bad format for add-host: "${text}"`);
  if (address === 'host-gateway') refuse(`add-host ${name}: host-gateway needs a network that has a gateway`);
  if (!isAddress(address)) refuse(`invalid IP address in add-host: "${address}"`);
  return `${address}\t${name}`;
}

function isAddress(text: string): boolean {
  const four = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (four !== null) return four.slice(1).every((part) => Number(part) <= 255);
  return /^[0-9a-fA-F:.]{2,45}$/.test(text) && text.includes(':');
}

/** Name servers on the host's loopback are of no use in another network namespace. */
function resolvConf(body: ContainerCreateBody, facts: Facts, sameNetwork: boolean): string {
  const { Dns, DnsSearch, DnsOptions } = body.HostConfig;
  const servers = Dns ?? [];
  const search = (DnsSearch ?? []).filter((domain) => domain !== '.');
  for (const server of servers) if (!isAddress(server)) refuse(`bad parameter: invalid DNS IP address: ${server}`);
  for (const word of [...search, ...(DnsOptions ?? [])])
    if (/\s/.test(word) || word === '') refuse(`invalid DNS word: "${word}"`);
  const given = facts.host.resolvConf.split('\n').map((line) => line.trim());
  const kept = given.filter((line) => {
    const [word = '', value = ''] = line.split(/\s+/);
    if (word === 'nameserver') return servers.length === 0 && (sameNetwork || !/^(127\.|::1$)/.test(value));
    if (word === 'search' || word === 'domain') return (DnsSearch ?? []).length === 0;
    if (word === 'options') return (DnsOptions ?? []).length === 0;
    return line !== '' && !line.startsWith('#') && !line.startsWith(';');
  });
  const added = [
    ...servers.map((server) => `nameserver ${server}`),
    ...(search.length > 0 ? [`search ${search.join(' ')}`] : []),
    ...((DnsOptions ?? []).length > 0 ? [`options ${(DnsOptions ?? []).join(' ')}`] : []),
  ];
  return [...kept, ...added].map((line) => `${line}\n`).join('');
}
