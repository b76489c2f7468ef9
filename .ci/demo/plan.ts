// The demo's plan where no container can run: the same planner with the facts of a usual machine, so that there is something to read.
import type { ContainerId, Digest } from '../../core/base/brand.ts';
import { planContainer } from '../../core/plan/container.ts';
import { explainPlan } from '../../core/plan/explain.ts';
import type { HostFacts } from '../../core/plan/facts.ts';
import { readContainerCreate } from '../../core/spec/docker-api.ts';

const host: HostFacts = {
  kernel: 'of this machine',
  architecture: process.arch === 'arm64' ? 'arm64' : 'x64',
  emulated: [],
  cgroup: { version: 'v2', controllers: ['cpu', 'cpuset', 'memory', 'pids', 'io'], swap: true, ioWeight: true },
  capabilities: (1n << 41n) - 1n,
  rootless: false,
  uidCountMax: 65536,
  hostname: 'host',
  cpus: '0',
  mems: '0',
  rlimits: {},
  hosts: '127.0.0.1 localhost\n',
  resolvConf: '',
  privilegedDevices: [],
};

/** The plan in words of `run --network none --hostname demo --read-only --memory 64m --pids-limit 50 berth-demo:1`. */
export function demoPlan(): string {
  const { body } = readContainerCreate({
    Image: 'berth-demo:1',
    Hostname: 'demo',
    HostConfig: { NetworkMode: 'none', ReadonlyRootfs: true, Memory: 64 << 20, PidsLimit: 50 },
  });
  const config = {
    env: [],
    entrypoint: ['/view'],
    cmd: undefined,
    workingDir: '',
    user: '',
    volumes: [],
    stopSignal: '',
  };
  const layers = [`sha256:${'0'.repeat(64)}` as Digest];
  const facts = {
    id: 'de30'.padEnd(64, '0') as ContainerId,
    host,
    root: { kind: 'image', layers, config, highestUid: 0, highestGid: 0 },
    passwd: '',
    group: '',
    lookups: {},
    binds: [],
    devices: {},
    joined: {},
  } as const;
  return explainPlan(planContainer({ body }, facts), host.cgroup);
}
