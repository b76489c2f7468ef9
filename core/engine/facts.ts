// Reads everything a plan needs: the host, the image, what lies in it, devices, joined containers. Binds are opened by the caller.
import type { ContainerId } from '../base/brand.ts';
import { BerthError } from '../base/errors.ts';
import { wantedFacts } from '../plan/container.ts';
import type { BindFact, DeviceFact, Facts, Found, ImageFacts, JoinedFacts, RootFacts } from '../plan/facts.ts';
import type { Intent } from '../plan/intent.ts';
import { containerRefs } from '../plan/modes.ts';
import type { ContainerCreateBody } from '../spec/docker-api.ts';
import type { ImageConfig } from '../spec/oci.ts';
import type { ContainerRecord } from './container.ts';
import type { Context } from './context.ts';
import { findContainer } from './context.ts';
import { readDevice, readHostFacts } from './host-facts.ts';

export type FactsAsked = {
  readonly id: ContainerId;
  readonly body: ContainerCreateBody;
  readonly image: ImageFacts | undefined;
  readonly binds: readonly BindFact[];
  /** Whether the image still tells what lies in the root: the container has not run before. */
  readonly fresh: boolean;
};

/** The facts; with `fresh`, also about the program that is to be started. Throws helper_unavailable. */
export async function readFacts(context: Context, asked: FactsAsked): Promise<Facts> {
  const { body, image } = asked;
  const { imageFiles } = context;
  const layers = image?.layers ?? [];
  const root: RootFacts =
    image === undefined ? { kind: 'directory', path: body.Rootfs ?? '', descriptor: 0 } : { kind: 'image', ...image };
  const facts: Facts = {
    id: asked.id,
    host: readHostFacts(await context.link.hello()),
    root,
    passwd: image === undefined ? '' : await imageFiles.text(layers, '/etc/passwd'),
    group: image === undefined ? '' : await imageFiles.text(layers, '/etc/group'),
    lookups: image === undefined || !asked.fresh ? {} : imageFiles.known(layers),
    binds: asked.binds,
    devices: devicesOf(body),
    joined: joinedOf(context, body),
  };
  return image === undefined || !asked.fresh ? facts : withLookups(context, { body }, facts);
}

/** Looks at what the planner wants looked at, until it wants no more. */
async function withLookups(context: Context, intent: Intent, facts: Facts): Promise<Facts> {
  const layers = facts.root.kind === 'image' ? facts.root.layers : [];
  const lookups: Record<string, Found> = { ...facts.lookups };
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const wanted = wantedFacts(intent, { ...facts, lookups });
    if (wanted.length === 0) break;
    Object.assign(lookups, await context.imageFiles.look(layers, wanted));
  }
  return { ...facts, lookups };
}

/** A program, its interpreter, that one's loader: more rounds mean a fault. */
const ROUNDS_MAX = 80;

/** Every device of the host that a create body names. */
function devicesOf(body: ContainerCreateBody): Record<string, DeviceFact> {
  const host = body.HostConfig;
  const throttled = [
    host.BlkioDeviceReadBps,
    host.BlkioDeviceWriteBps,
    host.BlkioDeviceReadIOps,
    host.BlkioDeviceWriteIOps,
  ];
  const paths = [
    ...(host.Devices ?? []).map((device) => device.PathOnHost),
    ...throttled.flatMap((list) => (list ?? []).map((rate) => rate.Path)),
  ];
  const devices: Record<string, DeviceFact> = {};
  for (const path of new Set(paths)) {
    const device = readDevice(path);
    if (device !== undefined) devices[path] = device;
  }
  return devices;
}

function joinedOf(context: Context, body: ContainerCreateBody): Record<string, JoinedFacts> {
  const joined: Record<string, JoinedFacts> = {};
  for (const ref of containerRefs(body.HostConfig)) {
    const record = recordOf(context, ref);
    if (record === undefined) continue;
    const ipc = record.body.HostConfig.IpcMode;
    const {
      userNamespace = record.id,
      hostname = '',
      domainname = '',
      hosts = '',
      resolvConf = '',
    } = record.joinable ?? {};
    joined[ref] = {
      id: record.id,
      running: record.state.kind === 'running',
      userNamespace,
      ipcShareable: ipc === 'shareable' || ipc === 'host',
      hostname,
      domainname,
      hosts,
      resolvConf,
    };
  }
  return joined;
}

/** Undefined where there is none: the planner says so, as of a fault in what was asked. Not found would be read as the image's. */
function recordOf(context: Context, ref: string): ContainerRecord | undefined {
  try {
    return findContainer(context, ref).record;
  } catch (error) {
    if (error instanceof BerthError && error.code === 'container_not_found') return undefined;
    throw error;
  }
}

/** What a container inherits of an image, as the planner takes it. */
export function planConfig(config: ImageConfig): ImageFacts['config'] {
  const of = config.config;
  return {
    env: of.Env ?? [],
    entrypoint: of.Entrypoint ?? undefined,
    cmd: of.Cmd ?? undefined,
    workingDir: of.WorkingDir,
    user: of.User,
    volumes: Object.keys(of.Volumes ?? {}),
    stopSignal: of.StopSignal ?? '',
  };
}
