// A ContainerSpec of gRPC to the create body that the engine takes, and a container back.
import type { Container, ContainerSpec } from '../../proto/gen/berth/v1/engine.ts';
import { BerthError } from '../base/errors.ts';
import { type ContainerCreateBody, type ContainerInspect, emptyCreateBody } from '../spec/docker-api.ts';

/** The same wish in Docker's words. Throws bad_parameter for a number beyond 2^53 - 1. */
export function createBody(spec: ContainerSpec): ContainerCreateBody {
  const empty = emptyCreateBody();
  return {
    ...empty,
    Image: spec.image,
    Cmd: orNull(spec.command),
    Entrypoint: orNull(spec.entrypoint),
    Env: spec.env,
    WorkingDir: spec.workingDir,
    User: spec.user,
    Hostname: spec.hostname,
    Tty: spec.tty,
    OpenStdin: spec.stdinOpen,
    Labels: spec.labels,
    HostConfig: {
      ...empty.HostConfig,
      Binds: orNull(spec.binds),
      Memory: whole(spec.memoryBytes, 'memory_bytes'),
      NanoCpus: whole(spec.nanoCpus, 'nano_cpus'),
      PidsLimit: spec.pidsLimit === 0n ? null : whole(spec.pidsLimit, 'pids_limit'),
      NetworkMode: spec.network === '' ? 'default' : spec.network,
      CapAdd: orNull(spec.capAdd),
      CapDrop: orNull(spec.capDrop),
      ReadonlyRootfs: spec.readOnly,
      Privileged: spec.privileged,
      AutoRemove: spec.autoRemove,
      Init: spec.init ? true : undefined,
    },
  };
}

/** An empty list of a message is one that was not given. */
function orNull(list: readonly string[]): readonly string[] | null {
  return list.length === 0 ? null : list;
}

function whole(value: bigint, field: string): number {
  if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  throw new BerthError('bad_parameter', `spec.${field}: ${value} is above 2^53 - 1`);
}

/** What List says of a container. */
export function containerOf(inspect: ContainerInspect): Container {
  const { Status: state, Pid: pid, ExitCode } = inspect.State;
  return {
    id: inspect.Id,
    name: inspect.Name.replace(/^\//, ''),
    image: inspect.Config.Image,
    state,
    pid,
    exitCode: ExitCode < 0 ? 0 : ExitCode,
    labels: inspect.Config.Labels ?? {},
    createdNs: nanoseconds(inspect.Created),
  };
}

/** RFC 3339 with up to nine digits of a second to nanoseconds since 1970; 0 for a text that is no time. */
export function nanoseconds(time: string): bigint {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(time);
  if (match === null) return 0n;
  const [, second = '', fraction = '', zone = ''] = match;
  const ms = Date.parse(`${second}${zone}`);
  return ms > 0 ? BigInt(ms) * 1_000_000n + BigInt(fraction.padEnd(9, '0')) : 0n;
}
