// Making a container: everything is checked as a start would check it, then there is a record and nothing else.
import { randomBytes } from 'node:crypto';
import { asContainerId, type ContainerId } from '../base/brand.ts';
import { BerthError } from '../base/errors.ts';
import { type Plan, planContainer, wantedBinds } from '../plan/container.ts';
import type { Facts, ImageFacts } from '../plan/facts.ts';
import type { ContainerCreateBody } from '../spec/docker-api.ts';
import { type ImageConfig, platformOf } from '../spec/oci.ts';
import { parsePlatform, platformRank, platformText } from '../spec/platform.ts';
import { findImage } from '../store/images.ts';
import { openPath } from '../sys/fd.ts';
import { closeAll, openBinds } from './binds.ts';
import { wallNs } from './clock.ts';
import { mergedConfig } from './config.ts';
import { type ContainerRecord, type ImageOfContainer, makeContainer } from './container.ts';
import { type Context, emit, save } from './context.ts';
import type { Created } from './engine.ts';
import { planConfig, readFacts } from './facts.ts';
import { makeName, NAME } from './names.ts';
import { logLimits } from './output.ts';
import { HOST_PLATFORM } from './pull.ts';

/** Throws image_not_found, name_in_use, bad_parameter, not_implemented. */
export async function createContainer(
  context: Context,
  body: ContainerCreateBody,
  { name, platform }: { readonly name: string | undefined; readonly platform: string | undefined },
): Promise<Created> {
  const own = name?.replace(/^\//, '');
  if (own !== undefined) checkName(context, own);
  const { plan, image, id } = await planNew(context, body, platform);
  const record: ContainerRecord = {
    version: 1,
    id,
    name: own ?? makeName((taken) => context.store.names.has(taken)),
    createdNs: String(wallNs()),
    body,
    config: mergedConfig(
      body,
      image === undefined ? undefined : findImage(context.store, image.id).config.config,
      plan.launch.hostname || id.slice(0, 12),
    ),
    image,
    state: { kind: 'created', error: '', code: 0 },
    stopSignal: plan.stopSignal,
    joinable: undefined,
    restartCount: 0,
    stoppedByUser: false,
    ranBefore: false,
  };
  const container = makeContainer(record);
  save(context, container, {});
  context.containers.set(id, container);
  emit(context, container, { action: 'create' });
  return { id, warnings: plan.warnings };
}

/** Throws bad_parameter, name_in_use; `shown` is what was given. Source of the text: moby daemon/names.go. */
export function checkName(context: Context, name: string, shown = name): void {
  if (!NAME.test(name))
    throw new BerthError(
      'bad_parameter',
      `Invalid container name (${shown}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
    );
  const holder = context.store.names.get(name);
  if (holder === undefined) return;
  throw new BerthError(
    'name_in_use',
    `Conflict. The container name "/${name}" is already in use by container "${holder}". You have to remove (or rename) that container to be able to reuse that name.`,
  );
}

export type Planned = {
  readonly plan: Plan;
  readonly facts: Facts;
  readonly image: ImageOfContainer | undefined;
  readonly id: ContainerId;
  readonly fds: readonly number[];
};

/** The plan of a container that is not there yet, as a start would make it but for the program, which is looked for then; directories of `-v` that are missing are made then, too. */
export async function planNew(context: Context, body: ContainerCreateBody, platform?: string): Promise<Planned> {
  checkEngineFields(body);
  const image = await imageOf(context, body, platform);
  const id = asContainerId(randomBytes(32).toString('hex'));
  if (id === undefined) throw new Error('a random id is no id');
  const rootFds = image === undefined ? [openRoot(body.Rootfs ?? '')] : [];
  const fds = [...rootFds];
  try {
    const binds = openBinds(wantedBinds({ body }), rootFds.length, false);
    fds.push(...binds.fds);
    const facts = await readFacts(context, { id, body, image: image?.facts, binds: binds.facts, fresh: false });
    const running = {
      ...facts,
      joined: Object.fromEntries(Object.entries(facts.joined).map(([ref, one]) => [ref, { ...one, running: true }])),
    };
    return { plan: planContainer({ body }, running), facts: running, image, id, fds };
  } finally {
    closeAll(fds);
  }
}

function openRoot(path: string): number {
  if (!path.startsWith('/')) throw new BerthError('bad_parameter', `--rootfs ${path}: it must be an absolute path`);
  try {
    return openPath(path);
  } catch (error) {
    throw new BerthError(
      'bad_parameter',
      `--rootfs ${path}: ${error instanceof Error && 'code' in error ? error.code : error}`,
      { cause: error },
    );
  }
}

async function imageOf(
  context: Context,
  body: ContainerCreateBody,
  platform: string | undefined,
): Promise<ImageOfContainer | undefined> {
  if ((body.Rootfs ?? '') !== '') {
    if (body.Image !== '') throw new BerthError('bad_parameter', 'conflicting options: an image and --rootfs');
    return undefined;
  }
  if (body.Image === '') throw new BerthError('bad_parameter', 'no image was named');
  const image = findImage(context.store, body.Image);
  if (platform !== undefined) checkPlatform(image.config, body.Image, platform);
  const layers = image.layers.map((layer) => layer.diffId);
  const facts: ImageFacts = { layers, config: planConfig(image.config), ...(await context.imageFiles.owners(layers)) };
  return { id: image.id, reference: body.Image, facts };
}

/** Throws image_not_found, with which clients pull the right one. Source of the text: moby v28.2 daemon/images/image.go. */
function checkPlatform(config: ImageConfig, name: string, asked: string): void {
  const wanted = parsePlatform(asked, HOST_PLATFORM);
  const have = platformOf(config);
  if (platformRank(wanted, have) !== undefined) return;
  const [theirs, ours] = [platformText(have), platformText(wanted)];
  throw new BerthError(
    'image_not_found',
    `image with reference ${name} was found but its platform (${theirs}) does not match the specified platform (${ours})`,
  );
}

const RUNTIMES = ['', 'berth', 'runc', 'io.containerd.runc.v2'];
const RESTART = ['', 'no', 'always', 'unless-stopped', 'on-failure'];

/** The fields of HostConfig that the planner leaves to the engine. Source of the texts: moby daemon/container.go. */
function checkEngineFields(body: ContainerCreateBody): void {
  const { RestartPolicy: restart, AutoRemove, Isolation, Runtime } = body.HostConfig;
  logLimits(body);
  if (!['', 'default'].includes(Isolation.toLowerCase()))
    throw new BerthError('bad_parameter', `invalid isolation: "${Isolation}" - linux only supports 'default'`);
  if (!RUNTIMES.includes(Runtime)) throw new BerthError('bad_parameter', `unknown or invalid runtime name: ${Runtime}`);
  if (!RESTART.includes(restart.Name))
    throw new BerthError(
      'bad_parameter',
      `invalid restart policy: unknown policy '${restart.Name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`,
    );
  if (restart.MaximumRetryCount < 0)
    throw new BerthError('bad_parameter', 'invalid restart policy: maximum retry count cannot be negative');
  if (restart.MaximumRetryCount > 0 && restart.Name !== 'on-failure')
    throw new BerthError(
      'bad_parameter',
      "invalid restart policy: maximum retry count can only be used with 'on-failure'",
    );
  if (AutoRemove && !['', 'no'].includes(restart.Name))
    throw new BerthError('bad_parameter', "can't create 'AutoRemove' container with restart policy");
}
