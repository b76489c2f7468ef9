// A container's Config and HostConfig as Docker shows them: the user's with the image's and the defaults filled in. For people alone: plans are
// made of what the user gave.
import { MASKED_PATHS, READ_ONLY_PATHS } from '../plan/hardening.ts';
import type { ContainerCreateBody } from '../spec/docker-api.ts';
import type { ContainerConfig, HostConfig } from '../spec/docker-config.ts';

/** Source: moby daemon/commit.go merge, v28. */
export function mergedConfig(
  body: ContainerCreateBody,
  image: ContainerConfig | undefined,
  hostname: string,
): ContainerConfig {
  const { HostConfig: _host, NetworkingConfig: _networks, Rootfs: _rootfs, ...own } = body;
  const named = { ...own, Hostname: own.Hostname === '' ? hostname : own.Hostname };
  if (image === undefined) return named;
  const keys = new Set((own.Env ?? []).map((variable) => variable.split('=', 1)[0]));
  const inherits = (own.Entrypoint ?? []).length === 0;
  return {
    ...named,
    User: own.User === '' ? image.User : own.User,
    ExposedPorts: merged(image.ExposedPorts, own.ExposedPorts),
    Env: [
      ...(own.Env ?? []).filter((variable) => variable.includes('=')),
      ...(image.Env ?? []).filter((variable) => !keys.has(variable.split('=', 1)[0] ?? '')),
    ],
    Cmd: inherits && (own.Cmd ?? []).length === 0 ? image.Cmd : own.Cmd,
    Entrypoint: own.Entrypoint ?? image.Entrypoint,
    WorkingDir: own.WorkingDir === '' ? image.WorkingDir : own.WorkingDir,
    Labels: { ...(image.Labels ?? {}), ...(own.Labels ?? {}) },
    Volumes: merged(image.Volumes, own.Volumes) ?? null,
    StopSignal: own.StopSignal ?? image.StopSignal,
    OnBuild: null,
  };
}

function merged<T>(
  a: Readonly<Record<string, T>> | null | undefined,
  b: Readonly<Record<string, T>> | null | undefined,
): Readonly<Record<string, T>> | undefined {
  const both = { ...(a ?? {}), ...(b ?? {}) };
  return Object.keys(both).length === 0 ? undefined : both;
}

const SHM_BYTES = 64 << 20;

/** What was left open, as it is. */
export function shownHostConfig(host: HostConfig): HostConfig {
  const { RestartPolicy: restart, LogConfig: log, PidsLimit: pids } = host;
  return {
    ...host,
    NetworkMode: ['', 'default'].includes(host.NetworkMode) ? 'none' : host.NetworkMode,
    IpcMode: host.IpcMode === '' ? 'private' : host.IpcMode,
    CgroupnsMode: host.CgroupnsMode === '' ? 'private' : host.CgroupnsMode,
    MemorySwappiness: host.MemorySwappiness === -1 ? null : host.MemorySwappiness,
    PidsLimit: pids !== null && pids <= 0 ? null : pids,
    ShmSize: host.ShmSize === 0 ? SHM_BYTES : host.ShmSize,
    RestartPolicy: restart.Name === '' ? { ...restart, Name: 'no' } : restart,
    LogConfig: { Type: log.Type === '' ? 'json-file' : log.Type, Config: log.Config ?? {} },
    MaskedPaths: host.MaskedPaths ?? (host.Privileged ? null : [...MASKED_PATHS]),
    ReadonlyPaths: host.ReadonlyPaths ?? (host.Privileged ? null : [...READ_ONLY_PATHS]),
    Runtime: host.Runtime === '' ? 'berth' : host.Runtime,
    ConsoleSize: host.ConsoleSize ?? [0, 0],
  };
}
