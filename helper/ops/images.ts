// Merged images: one read-only file system of all layers of an image, made once and shared by all who have a right to every one of its layers. Only
// files that our own worker wrote into files of ours are mounted, with as many tars as layers and of the sizes their indexes were made for, in a
// mount namespace that only programs of the launcher enter. Where the kernel mounts no EROFS from files, the same layers lie unpacked.
import { hash } from 'node:crypto';
import * as fs from 'node:fs';
import { MOUNT_ATTR_IDMAP } from '../../proto/abi/mount.gen.ts';
import { ImageForm } from '../../proto/gen/berth/helper/v1/request.ts';
import { attachImage, detachImage, newUserNamespace } from '../launch/namespaces.ts';
import type { RootSource } from '../lower/host.ts';
import { cloneMount, mountSetattr, openat2 } from '../sys/files.ts';
import { ownIds } from './ids.ts';
import { EMPTY_IMAGE, EMPTY_IMAGE_BYTES, EMPTY_TAR_BYTES } from './empty-image.gen.ts';
import { Failed } from './failed.ts';
import { makeDirectory, removeTree } from './files.ts';
import { type Layers, newFile } from './layers.ts';
import type { World } from './order.ts';
import { openStore } from './store.ts';
import type { WorkerResult } from './worker.ts';

const DIRECTORY = fs.constants.O_RDONLY | fs.constants.O_DIRECTORY;

/** From the topmost. */
type LayerIds = readonly string[];
type ImageFacts = Pick<WorkerResult, 'highestUid' | 'highestGid' | 'indexBytes'> & { readonly layers: LayerIds };
export type Images = Awaited<ReturnType<typeof openImages>>;
/** `workerId`: first of the worker's uids. */
export type ImageParts = Pick<World, 'machine' | 'layers' | 'worker'> & {
  readonly root: string;
  readonly workerId: number;
};

/** Opens the images beneath `root`; what interrupted merges left is removed. */
export async function openImages(parts: ImageParts) {
  const { storeNamespace } = parts.machine;
  const { kept, make, give, take, remove, path } = await openStore<ImageFacts>(parts.root, 'images');
  const form = await findForm(`${parts.root}/tmp/probe`, storeNamespace);
  const mounted = form === ImageForm.IMAGE_FORM_EROFS;
  const directory = fs.openSync(path, DIRECTORY);
  const ready = new Map<string, Promise<ImageFacts>>();
  // What is merged depends on nothing else.
  const nameOf = (layers: LayerIds): string => hash('sha256', `${form} ${layers.join(' ')}`);

  const prepare = async (name: string, layers: LayerIds, principal: string): Promise<ImageFacts> => {
    const fill = (temporary: string) => fillImage(parts, { layers, directory: temporary, mounted });
    const facts = kept.get(name)?.facts ?? (await make(name, principal, fill));
    if (mounted) await attach(parts, layers, { name, source: `${path}/${name}/image` });
    return facts;
  };
  const free = async (name: string): Promise<void> => {
    const going = ready.get(name);
    ready.delete(name);
    await remove(name);
    const attached = await going?.catch(() => undefined); // whoever asked for it is told
    if (mounted && attached !== undefined) await detachImage(storeNamespace, name);
  };
  return {
    form,
    /** Makes the image where it is not there, and the principal's right to it; gives it ready to be a container's root. */
    async merge(layers: LayerIds, principal: string): Promise<ImageFacts & { readonly root: RootSource }> {
      const name = nameOf(layers);
      const going = ready.get(name) ?? prepare(name, layers, principal);
      ready.set(name, going);
      going.catch(() => ready.get(name) === going && ready.delete(name));
      const facts = await going;
      give(name, principal);
      if (mounted) return { ...facts, root: { kind: 'image', name } };
      return { ...facts, root: { kind: 'unpacked', directory, names: [`${name}/tree`] } };
    },
    /** Opens the merged index and the layers' tars, to read. */
    open(layers: LayerIds): number[] {
      const files = [`${path}/${nameOf(layers)}/index`, ...layers.map((layer) => tarOf(parts.layers, layer))];
      return files.map((file) => fs.openSync(file, 'r'));
    },
    /** Gives up the principal's right; the last one frees the image. */
    async drop(layers: LayerIds, principal: string): Promise<void> {
      if (take(nameOf(layers), principal)) await free(nameOf(layers));
    },
    /** Frees every image with this layer: its tar is going. */
    async dropLayer(diffId: string): Promise<void> {
      for (const [name, { facts }] of kept) if (facts.layers.includes(diffId)) await free(name);
    },
  };
}

function tarOf(layers: Layers, diffId: string): string {
  return `${layers.path}/${diffId}/tar`;
}

/** The form this host uses: tried out by mounting an image with no entries, as the worker makes it. It also fails where the store lies on overlayfs. */
async function findForm(directory: string, storeNamespace: number): Promise<ImageForm> {
  if (process.env['BERTH_IMAGE_FORM'] === 'unpacked') return ImageForm.IMAGE_FORM_UNPACKED;
  const [source, tar] = [`${makeDirectory(directory)}/image`, `${directory}/tar`];
  const image = Buffer.alloc(EMPTY_IMAGE_BYTES);
  for (const [at, hex] of EMPTY_IMAGE) image.write(hex, at, 'hex');
  fs.writeFileSync(source, image);
  fs.writeFileSync(tar, Buffer.alloc(EMPTY_TAR_BYTES));
  const failure = await attachImage({ storeNamespace, name: 'probe', source, devices: [tar] });
  if (failure === undefined) await detachImage(storeNamespace, 'probe');
  await removeTree(directory);
  return failure === undefined ? ImageForm.IMAGE_FORM_EROFS : ImageForm.IMAGE_FORM_UNPACKED;
}

type Filling = { readonly layers: LayerIds; readonly directory: string; readonly mounted: boolean };

/** The image's files, by the worker. */
async function fillImage(parts: ImageParts, { layers, directory, mounted }: Filling): Promise<ImageFacts> {
  using open = new DisposableStack();
  const keep = (fd: number): number => open.adopt(fd, fs.closeSync);
  const read = (file: string) =>
    layers.toReversed().map((diffId) => keep(fs.openSync(`${parts.layers.path}/${diffId}/${file}`, 'r')));
  const index = keep(newFile(`${directory}/index`));
  const out = keep(mounted ? newFile(`${directory}/image`) : openTree(parts, `${directory}/tree`));
  const inputs = mounted ? read('index') : [...read('index'), ...read('tar')];
  const { highestUid, highestGid, indexBytes, imageBytes } = await parts.worker({
    mode: mounted ? 'merge' : 'unpack',
    args: [String(layers.length), parts.machine.rootless ? 'rootless' : 'nodev'],
    descriptors: [undefined, out, index, undefined, ...inputs],
    bytesMax: 2 ** 43,
  });
  if (mounted && fs.fstatSync(out).size !== imageBytes)
    throw new Failed('merge image', 'the image is not as long as the worker says');
  fs.fsyncSync(index);
  return { layers, highestUid, highestGid, indexBytes };
}

/** The unpacked tree's directory as the worker sees it: on disk are the image's own ids, to the worker they are its own. */
function openTree({ machine, workerId }: ImageParts, path: string): number {
  fs.mkdirSync(path, { mode: 0o755 });
  if (machine.rootless) return fs.openSync(path, DIRECTORY);
  using open = new DisposableStack();
  const users = open.adopt(newUserNamespace(ownIds(workerId)), fs.closeSync);
  const mount = open.adopt(cloneMount(open.adopt(fs.openSync(path, DIRECTORY), fs.closeSync), false), fs.closeSync);
  mountSetattr(mount, MOUNT_ATTR_IDMAP, users);
  return openat2(mount, '.', { flags: DIRECTORY });
}

type Attaching = { readonly name: string; readonly source: string };

/** Mounts the image. The kernel takes a tar that is too short, and a missing one, without a word: so their sizes are compared here. */
async function attach({ machine, layers: store }: ImageParts, layers: LayerIds, image: Attaching) {
  for (const layer of layers) {
    const { size } = fs.statSync(tarOf(store, layer));
    const tarBytes = store.kept.get(layer)?.facts.tarBytes;
    if (size !== tarBytes)
      throw new Failed('mount the image', `the tar of layer ${layer} has ${size} bytes, not ${tarBytes}`);
  }
  const devices = layers.toReversed().map((layer) => tarOf(store, layer));
  const failure = await attachImage({ storeNamespace: machine.storeNamespace, ...image, devices });
  if (failure !== undefined) throw new Failed(failure.step, failure.detail, failure);
}
