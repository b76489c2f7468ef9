// A container as `docker inspect` shows it.
import {
  networkSettings,
  type ContainerState,
  type EndpointSettings,
  type MountInUse,
  type NetworkSettings,
} from '../spec/docker-config.ts';
import { Propagation } from '../../proto/gen/berth/helper/v1/plan.ts';
import { readVolumes, type UserMount } from '../plan/volumes.ts';
import type { ContainerCreateBody, ContainerInspect } from '../spec/docker-api.ts';
import { timeText } from './clock.ts';
import { shownHostConfig } from './config.ts';
import { type Container, type ContainerRecord, statusOf } from './container.ts';
import type { Context } from './context.ts';
import { logDir } from './output.ts';
import { segmentPath, segmentsOf } from './log-file.ts';

const NEVER = '0001-01-01T00:00:00Z';

export function inspectContainer(context: Context, container: Container): ContainerInspect {
  const { record } = container;
  const { config } = record;
  const [path = '', ...args] = commandOf(record);
  return {
    Id: record.id,
    Created: timeText(BigInt(record.createdNs)),
    Path: path,
    Args: args,
    State: stateOf(container),
    Image: record.image?.id ?? '',
    ResolvConfPath: '',
    HostnamePath: '',
    HostsPath: '',
    LogPath: logPath(context, container),
    Name: `/${record.name}`,
    RestartCount: record.restartCount,
    Driver: 'berth',
    Platform: 'linux',
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: '',
    ExecIDs: container.execs.size === 0 ? null : [...container.execs],
    HostConfig: shownHostConfig(record.body.HostConfig),
    GraphDriver: { Data: null, Name: 'berth' },
    Mounts: mountsOf(record.body),
    Config: config,
    NetworkSettings: networkOf(record.body),
  };
}

/** What is executed: entrypoint and words. A list of one empty word takes the entrypoint away. */
export function commandOf({ config }: ContainerRecord): string[] {
  const entrypoint = config.Entrypoint ?? [];
  const reset = entrypoint.length === 1 && entrypoint[0] === '';
  return [...(reset ? [] : entrypoint), ...(config.Cmd ?? [])];
}

function logPath(context: Context, container: Container): string {
  const dir = logDir(context, container.record.id);
  const last = container.log?.current.number ?? segmentsOf(dir).at(-1);
  return last === undefined || container.record.body.HostConfig.LogConfig.Type === 'none'
    ? ''
    : segmentPath(dir, last, 1);
}

/** The time as Docker gives it, and its zero where it never was. The fields in Docker's order, which templates print them in. */
export function stateOf(container: Container): ContainerState {
  const { state } = container.record;
  const status = statusOf(container);
  const problem = container.log?.problem ?? '';
  const ran = state.kind !== 'created';
  return {
    Status: status,
    Running: state.kind === 'running' || status === 'restarting',
    Paused: status === 'paused',
    Restarting: status === 'restarting',
    OOMKilled: ran && state.outOfMemory,
    Dead: false,
    Pid: state.kind === 'running' ? state.pid : 0,
    ExitCode: state.kind === 'running' ? 0 : state.code,
    Error: state.kind === 'running' ? problem : state.error || (ran ? problem : ''),
    StartedAt: ran ? timeText(BigInt(state.startedNs)) : NEVER,
    FinishedAt: state.kind === 'exited' ? timeText(BigInt(state.finishedNs)) : NEVER,
  };
}

const PROPAGATION: Readonly<Record<number, string>> = {
  [Propagation.PROPAGATION_PRIVATE]: 'rprivate',
  [Propagation.PROPAGATION_SLAVE]: 'rslave',
  [Propagation.PROPAGATION_SHARED]: 'rshared',
};

export function mountsOf(body: ContainerCreateBody): MountInUse[] {
  return readVolumes(body).flatMap(mountInUse);
}

/** A --tmpfs is not among Docker's mounts, one of --mount is. */
function mountInUse(mount: UserMount): MountInUse[] {
  if (mount.kind === 'bind') {
    const propagation = PROPAGATION[mount.propagation] ?? 'rprivate';
    return [
      {
        Type: 'bind',
        Source: mount.source,
        Destination: mount.target,
        Mode: mount.readOnly ? 'ro' : '',
        RW: !mount.readOnly,
        Propagation: propagation,
      },
    ];
  }
  if (!mount.why.startsWith('--mount')) return [];
  return [
    { Type: 'tmpfs', Source: '', Destination: mount.target, Mode: '', RW: !mount.flags.readOnly, Propagation: '' },
  ];
}

/** There is no network of ours yet: none, the host's, or another container's. */
export function networkOf(body: ContainerCreateBody): NetworkSettings {
  const mode = shownHostConfig(body.HostConfig).NetworkMode;
  return {
    ...networkSettings.zero(),
    Ports: {},
    Networks: mode.startsWith('container:') ? {} : { [mode]: endpoint() },
  };
}

function endpoint(): EndpointSettings {
  return {
    IPAMConfig: null,
    Links: null,
    Aliases: null,
    MacAddress: '',
    DriverOpts: null,
    GwPriority: 0,
    NetworkID: '',
    EndpointID: '',
    Gateway: '',
    IPAddress: '',
    IPPrefixLen: 0,
    IPv6Gateway: '',
    GlobalIPv6Address: '',
    GlobalIPv6PrefixLen: 0,
    DNSNames: null,
  };
}
