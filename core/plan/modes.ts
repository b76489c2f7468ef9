// Docker's words for namespaces (--pid, --ipc, --uts, --userns, --cgroupns, --network) to what is wanted of each.
import type { HostConfig } from '../spec/docker-config.ts';
import type { Facts, JoinedFacts } from './facts.ts';
import { impliedUser, NEEDS_USER, type NsWanted, type NsWish, short } from './namespaces.ts';
import { notYet, refuse } from './reason.ts';

type Mode =
  | { readonly kind: 'default' }
  | { readonly kind: 'word'; readonly word: string }
  | { readonly kind: 'container'; readonly ref: string };

/** The network a container gets, for the generated files and the API's own checks. */
export type NetworkKind = 'none' | 'host' | 'container';

/**
 * What is wanted of each namespace, the user namespace's last, since it follows from the others. Throws bad_parameter with Docker's texts,
 * container_not_running is the engine's to say: it gives facts of running containers only.
 * Source: moby api/types/container/hostconfig.go for the words; daemon/oci_linux.go WithNamespaces.
 */
export function wantedNamespaces(host: HostConfig, facts: Facts): NsWish {
  const net = wantedNet(host.NetworkMode, facts);
  const pid = wantedOne({ mode: readMode(host.PidMode), noun: 'PID', text: host.PidMode, words: ['host'] }, facts);
  const ipc = wantedIpc(host.IpcMode, facts);
  const uts = wantedOne({ mode: readMode(host.UTSMode), noun: 'UTS', text: host.UTSMode, words: ['host'] }, facts);
  const cgroup = wantedOne(
    {
      mode: readMode(host.CgroupnsMode),
      noun: 'cgroup namespace',
      text: host.CgroupnsMode,
      words: ['host', 'private'],
    },
    facts,
  );
  const user = wantedOne(
    { mode: readMode(host.UsernsMode), noun: 'USER', text: host.UsernsMode, words: ['host', 'private'] },
    facts,
  );
  if (cgroup.source.kind === 'shared') refuse(`invalid cgroup namespace mode: ${host.CgroupnsMode}`);
  const mnt: NsWanted = { source: { kind: 'new' }, why: 'the container has a root of its own, always' };
  const time: NsWanted = { source: { kind: 'host' }, why: "the host's clocks: no offset can be asked yet" };
  const wish = { mnt, net, pid, ipc, uts, cgroup, time };
  const joined = [
    ...NEEDS_USER.flatMap((ns) => targetOf(wish[ns as keyof typeof wish], facts)),
    ...targetOf(user, facts),
  ];
  return { ...wish, user: impliedUser(user, joined) };
}

/** Which of the three kinds of network the mode means. */
export function networkKind(mode: string): NetworkKind {
  const read = readMode(mode);
  if (read.kind === 'container') return 'container';
  return read.kind === 'word' && read.word === 'host' ? 'host' : 'none';
}

/** The container a mode names; undefined where it names none. */
export function containerRef(mode: string): string | undefined {
  const read = readMode(mode);
  return read.kind === 'container' ? read.ref : undefined;
}

/** Every `container:REF` of an intent: the engine looks these up. */
export function containerRefs(host: HostConfig): string[] {
  const modes = [host.NetworkMode, host.PidMode, host.IpcMode, host.UTSMode, host.UsernsMode];
  return [...new Set(modes.map(containerRef).filter((ref) => ref !== undefined && ref !== ''))] as string[];
}

function readMode(text: string): Mode {
  if (text === '') return { kind: 'default' };
  if (text === 'container' || text.startsWith('container:')) return { kind: 'container', ref: text.slice(10) };
  return { kind: 'word', word: text };
}

type Asked = {
  readonly mode: Mode;
  readonly noun: string;
  readonly text: string;
  readonly words: readonly string[];
};

function wantedOne(asked: Asked, facts: Facts): NsWanted {
  const { mode, noun, text } = asked;
  if (mode.kind === 'container') return shared(`--${flagOf(noun)}`, mode.ref, facts);
  if (mode.kind === 'default') return { source: { kind: 'new' }, why: 'the default' };
  if (!asked.words.includes(mode.word)) refuse(`invalid ${noun} mode: ${text}`);
  return { source: { kind: mode.word === 'host' ? 'host' : 'new' }, why: `--${flagOf(noun)}=${text}` };
}

function flagOf(noun: string): string {
  if (noun === 'cgroup namespace') return 'cgroupns';
  return noun === 'USER' ? 'userns' : noun.toLowerCase();
}

function wantedIpc(text: string, facts: Facts): NsWanted {
  const words = ['host', 'private', 'shareable', 'none'];
  const wanted = wantedOne({ mode: readMode(text), noun: 'IPC', text, words }, facts);
  const ref = containerRef(text);
  if (ref !== undefined && facts.joined[ref]?.ipcShareable === false) {
    refuse(
      `failed to join IPC namespace: container ${ref}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)`,
    );
  }
  return wanted;
}

function wantedNet(text: string, facts: Facts): NsWanted {
  const mode = readMode(text);
  const alone: NsWanted = { source: { kind: 'new' }, why: 'a loopback device and nothing else' };
  if (mode.kind === 'default' || text === 'default') return alone;
  if (mode.kind === 'container') {
    if (mode.ref === '') refuse('invalid network mode: invalid container format container:<name|id>');
    return shared('--network', mode.ref, facts);
  }
  if (text === 'none') return { ...alone, why: '--network=none: a loopback device and nothing else' };
  if (text === 'host') return { source: { kind: 'host' }, why: '--network=host' };
  const hint = 'use none, host or container:NAME';
  if (text === 'bridge') return notYet('network bridge is not there yet', hint);
  return refuse(`network ${text} not found`, `networks of one's own are not there yet: ${hint}`);
}

function shared(flag: string, ref: string, facts: Facts): NsWanted {
  const target = joinedFacts(ref, facts);
  return { source: { kind: 'shared', with: target.id }, why: `${flag}=container:${ref}, which is ${short(target.id)}` };
}

function joinedFacts(ref: string, facts: Facts): JoinedFacts {
  const target = Object.hasOwn(facts.joined, ref) ? facts.joined[ref] : undefined;
  if (target === undefined) return refuse(`No such container: ${ref}`);
  if (!target.running) return refuse(`cannot join a namespace of container ${ref}: it is not running`);
  return target;
}

function targetOf(wanted: NsWanted, facts: Facts): JoinedFacts[] {
  const { source } = wanted;
  if (source.kind !== 'shared') return [];
  return Object.values(facts.joined)
    .filter((target) => target.id === source.with)
    .slice(0, 1);
}
