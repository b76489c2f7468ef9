// Cases: an intent and the facts it is planned with, one JSON file each. The golden test prints the plan; the root suite runs the intent
// for real with an image of busybox and looks at `run`.
import { readdirSync, readFileSync } from 'node:fs';
import type { ContainerId, Digest } from '../../core/base/brand.ts';
import type { Facts, Found, HostFacts, ImageConfig, JoinedFacts } from '../../core/plan/facts.ts';
import type { Intent } from '../../core/plan/intent.ts';
import { readContainerCreate } from '../../core/spec/docker-api.ts';

/** What a real run must give: an exit code and a text, or the code of a refusal. `cgroup`: where alone; `skip`: why it cannot be run at all. */
export type Expected = {
  readonly exit?: number;
  readonly stdout?: string;
  readonly refused?: string;
  readonly cgroup?: 'v1' | 'v2';
  readonly skip?: string;
};
export type Case = {
  readonly name: string;
  readonly about: string;
  readonly intent: Intent;
  readonly facts: Facts;
  /** Files and directories of @DIR@ that binds need: a text or "directory". */
  readonly files: Readonly<Record<string, string>>;
  /** The image's own configuration, beside the usual one of busybox. */
  readonly image: Partial<ImageConfig>;
  /** Whether a container called `donor` must run beside it. */
  readonly donor: boolean;
  readonly run: Expected;
};

type CaseFile = {
  readonly about: string;
  readonly body: Record<string, unknown>;
  readonly host?: Record<string, unknown>;
  readonly image?: Partial<ImageConfig> & { layers?: number; highestUid?: number };
  readonly facts?: Partial<Facts>;
  readonly files?: Record<string, string>;
  readonly donor?: Partial<JoinedFacts>;
  readonly run?: Expected;
};

export const ID = '3f2a'.padEnd(64, '0123456789abcdef') as ContainerId;
export const DONOR = 'd0'.repeat(32) as ContainerId;
/** Stands for a directory of the host in cases; the root suite makes a real one. */
export const CASE_DIR = '/srv/case';

export const PASSWD = `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
app:x:1000:1000:An app:/home/app:/bin/sh
nobody:x:65534:65534:nobody:/home:/bin/false
`;
export const GROUP = `root:x:0:
daemon:x:1:
audio:x:29:app
app:x:1000:
video:x:44:root,app
nobody:x:65534:
`;

/** A layer's digest for tests: every digit is the last one of its number. */
export function layer(number: number): Digest {
  return `sha256:${number.toString(16).padStart(2, '0').repeat(32)}` as Digest;
}

export function hostFacts(over: Partial<HostFacts> = {}): HostFacts {
  return {
    kernel: '6.18.5',
    architecture: 'x64',
    emulated: [],
    cgroup: {
      version: 'v1',
      controllers: ['cpu', 'cpuset', 'memory', 'pids', 'blkio', 'devices', 'freezer'],
      swap: true,
      ioWeight: true,
    },
    capabilities: (1n << 41n) - 1n,
    rootless: false,
    uidCountMax: 1_048_576,
    hostname: 'harbour',
    memoryBytes: 8_000_000_000n,
    cpus: '0-3',
    mems: '0',
    rlimits: { nofile: 1_048_576n },
    hosts: '127.0.0.1\tlocalhost\n192.0.2.7\tharbour\n',
    resolvConf: '# made by hand\nnameserver 192.0.2.53\nnameserver 127.0.0.53\nsearch example.org\n',
    privilegedDevices: [],
    ...over,
  };
}

export const V2_HOST = hostFacts({
  cgroup: { version: 'v2', controllers: ['cpu', 'cpuset', 'memory', 'pids', 'io'], swap: true, ioWeight: true },
});

export function imageConfig(over: Partial<ImageConfig> = {}): ImageConfig {
  return {
    env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
    entrypoint: undefined,
    cmd: ['sh'],
    workingDir: '',
    user: '',
    volumes: [],
    stopSignal: '',
    ...over,
  };
}

/** What busybox has at the paths that matter. */
const STATIC = { mode: 0o755, uid: 0, gid: 0, head: elfHead() };
const LOOKUPS: Record<string, Found> = {
  ...Object.fromEntries(
    ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin'].flatMap((directory) =>
      ['sh', 'true', 'echo', 'id', 'cat', 'env', 'nope'].map((name) => [
        `${directory}/${name}`,
        { at: `${directory}/${name}`, kind: 'missing' as const },
      ]),
    ),
  ),
  ...Object.fromEntries(
    ['sh', 'true', 'echo', 'id', 'cat', 'env'].map((name) => [
      `/bin/${name}`,
      { at: '/bin/busybox', kind: 'file' as const, ...STATIC },
    ]),
  ),
  '/bin/nope': { at: '/bin/nope', kind: 'missing' },
};

/** The header of a static program for x86-64. */
export function elfHead(machine = 62): Uint8Array {
  const head = new Uint8Array(64);
  head.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  head.set([machine & 0xff, machine >> 8], 18);
  return head;
}

export function baseFacts(over: Partial<Facts> = {}): Facts {
  return {
    id: ID,
    host: hostFacts(),
    root: { kind: 'image', layers: [layer(1)], config: imageConfig(), highestUid: 65_534, highestGid: 65_534 },
    passwd: PASSWD,
    group: GROUP,
    lookups: LOOKUPS,
    binds: [],
    devices: {},
    joined: {},
    ...over,
  };
}

/** An intent of a body as a client would send it. */
export function intent(body: Record<string, unknown> = {}): Intent {
  return { body: readContainerCreate({ Image: 'busybox', ...body }).body };
}

/** An intent of HostConfig alone. */
export function hostIntent(host: Record<string, unknown>): Intent {
  return intent({ HostConfig: host });
}

export function donorFacts(over: Partial<JoinedFacts> = {}): JoinedFacts {
  return {
    id: DONOR,
    running: true,
    userNamespace: DONOR,
    ipcShareable: true,
    hostname: 'donor',
    domainname: '',
    hosts: '127.0.0.1\tlocalhost\n',
    resolvConf: 'nameserver 192.0.2.53\n',
    ...over,
  };
}

const folder = new URL('.', import.meta.url).pathname;

/** All cases, by file name. */
export function loadCases(directory = CASE_DIR): Case[] {
  const names = readdirSync(folder).filter((name) => name.endsWith('.json'));
  return names.sort().map((name) => {
    const text = readFileSync(`${folder}${name}`, 'utf8').replaceAll('@DIR@', directory);
    return toCase(name.replace(/\.json$/, ''), JSON.parse(text) as CaseFile);
  });
}

function toCase(name: string, file: CaseFile): Case {
  const files = file.files ?? {};
  const binds = Object.entries(files).map(([path, text], descriptor) => ({
    source: `${CASE_DIR}/${path}`,
    descriptor,
    kind: text === 'directory' ? ('directory' as const) : ('file' as const),
  }));
  const { layers = 1, highestUid = 65_534, ...config } = file.image ?? {};
  const numbers = Array.from({ length: layers }, (_, i) => i + 1);
  const facts = baseFacts({
    host: { ...hostFacts(), ...(file.host?.['cgroup'] === 'v2' ? V2_HOST : {}), ...withoutCgroup(file.host) },
    root: {
      kind: 'image',
      layers: numbers.map(layer),
      config: imageConfig(config),
      highestUid,
      highestGid: highestUid,
    },
    binds,
    joined: file.donor === undefined ? {} : { donor: donorFacts(file.donor) },
    ...file.facts,
  });
  const { about, body, run = {} } = file;
  return { name, about, intent: intent(body), facts, files, image: config, donor: file.donor !== undefined, run };
}

function withoutCgroup(host: Record<string, unknown> = {}): Partial<HostFacts> {
  const { cgroup: _, capabilities, ...rest } = host;
  const bits = typeof capabilities === 'string' ? { capabilities: BigInt(capabilities) } : {};
  return { ...rest, ...bits } as Partial<HostFacts>;
}
