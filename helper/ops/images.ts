// Merged images: one read-only file system of all layers of an image, made once and shared by all who have a right to every one of its layers. Only
// files that our own worker wrote into files of ours are mounted, with as many tars as layers and of the sizes their indexes were made for, in a
// mount namespace that only programs of the launcher enter. Where the kernel mounts no EROFS from files, the same layers lie unpacked.
import * as fs from 'node:fs';
import { MOUNT_ATTR_IDMAP } from '../../proto/abi/mount.gen.ts';
import { ImageForm } from '../../proto/gen/berth/helper/v1/request.ts';
import { attachImage, detachImage, newUserNamespace } from '../launch/namespaces.ts';
import type { RootSource } from '../lower/host.ts';
import { cloneMount, mountSetattr, openat2 } from '../sys/files.ts';
import { ownIds } from './binds.ts';
import { Failed } from './failed.ts';
import { list, makeDirectory, readText, removeBigTree, removeTree, syncPath } from './files.ts';
import { imageName, type LayerStore, newFile } from './layers.ts';
import type { Worker } from './worker.ts';

const DIRECTORY = fs.constants.O_RDONLY | fs.constants.O_DIRECTORY;

export type ImageFacts = {
  readonly layers: readonly string[];
  readonly highestUid: number;
  readonly highestGid: number;
  readonly indexBytes: number;
  readonly form: ImageForm;
};
export type Images = {
  readonly form: ImageForm;
  /** Makes the image where it is not there, and the principal's claim on it; gives it ready to be a container's root. */
  readonly merge: (layers: readonly string[], principal: string) => Promise<ImageFacts & { readonly root: RootSource }>;
  /** Opens the merged index and the layers' tars, to read. */
  readonly open: (layers: readonly string[]) => number[];
  /** Gives up the principal's claim; the last one frees the image. */
  readonly drop: (layers: readonly string[], principal: string) => Promise<void>;
  /** Frees every image with this layer: its tar is going. */
  readonly dropLayer: (diffId: string) => Promise<void>;
};

export type ImageParts = {
  readonly root: string;
  readonly layers: LayerStore;
  readonly worker: Worker;
  readonly storeNamespace: number;
  readonly form: ImageForm;
  /** First of the worker's uids. */
  readonly workerId: number;
  readonly rootless: boolean;
};

/** Opens the images beneath `root`; what interrupted merges left is removed. */
export function openImages(parts: ImageParts): Images {
  const images = makeDirectory(`${parts.root}/images`);
  for (const name of list(images))
    if (readText(`${images}/${name}/facts`) === undefined) removeTree(`${images}/${name}`);
  const attached = new Map<string, Promise<void>>();
  const directory = fs.openSync(images, DIRECTORY);
  const merging = new Map<string, Promise<ImageFacts>>();
  const at = (name: string): string => `${images}/${name}`;
  const known = (name: string): ImageFacts | undefined =>
    JSON.parse(readText(`${at(name)}/facts`) ?? 'null') ?? undefined;

  const made = (name: string, layers: readonly string[]): Promise<ImageFacts> => {
    const running = merging.get(name) ?? make(parts, layers, at(name)).finally(() => merging.delete(name));
    merging.set(name, running);
    return running;
  };
  const free = async (name: string): Promise<void> => {
    await attached.get(name);
    if (attached.delete(name)) await detachImage(parts.storeNamespace, name);
    await removeBigTree(at(name));
    syncPath(images);
  };
  return {
    form: parts.form,
    async merge(layers, principal) {
      const name = imageName(layers, parts.form);
      const facts = known(name) ?? (await made(name, layers));
      makeDirectory(`${at(name)}/claims`);
      fs.writeFileSync(`${at(name)}/claims/${principal}`, '');
      if (facts.form === ImageForm.IMAGE_FORM_UNPACKED) {
        return { ...facts, root: { kind: 'unpacked', directory, names: [`${name}/tree`] } };
      }
      const attaching = attached.get(name) ?? attach(parts, layers, { name, source: `${at(name)}/image` });
      attached.set(name, attaching);
      await attaching.catch((error: unknown) => {
        attached.delete(name);
        throw error;
      });
      return { ...facts, root: { kind: 'image', name } };
    },
    open: (layers) => [
      fs.openSync(`${at(imageName(layers, parts.form))}/index`, 'r'),
      ...layers.map((layer) => fs.openSync(`${parts.layers.directory(layer)}/tar`, 'r')),
    ],
    async drop(layers, principal) {
      const name = imageName(layers, parts.form);
      fs.rmSync(`${at(name)}/claims/${principal}`, { force: true });
      if (list(`${at(name)}/claims`).length === 0) await free(name);
    },
    async dropLayer(diffId) {
      for (const name of list(images)) if (known(name)?.layers.includes(diffId)) await free(name);
    },
  };
}

/** The image's files, by the worker, in a directory that becomes the image's when they are whole. */
async function make(parts: ImageParts, layers: readonly string[], directory: string): Promise<ImageFacts> {
  using open = new DisposableStack();
  const temporary = parts.layers.begin();
  const bottomFirst = layers.toReversed();
  const reader = (diffId: string, file: string): number =>
    open.adopt(fs.openSync(`${parts.layers.directory(diffId)}/${file}`, 'r'), fs.closeSync);
  const indexes = bottomFirst.map((diffId) => reader(diffId, 'index'));
  const index = open.adopt(newFile(`${temporary}/index`), fs.closeSync);
  const unpack = parts.form === ImageForm.IMAGE_FORM_UNPACKED;
  try {
    const out = unpack ? openTree(parts, `${temporary}/tree`) : newFile(`${temporary}/image`);
    open.adopt(out, fs.closeSync);
    const job = unpack
      ? { mode: 'unpack' as const, args: [String(layers.length), parts.rootless ? 'rootless' : 'nodev'] }
      : { mode: 'merge' as const, args: [String(layers.length)] };
    const tars = unpack ? bottomFirst.map((diffId) => reader(diffId, 'tar')) : [];
    const result = await parts.worker({
      ...job,
      descriptors: [undefined, out, index, undefined, ...indexes, ...tars],
      bytesMax: 2 ** 43,
    });
    if (!unpack && fs.statSync(`${temporary}/image`).size !== result.imageBytes)
      throw new Failed('merge image', 'the image is not as long as the worker says');
    fs.fsyncSync(index);
    const { highestUid, highestGid, indexBytes } = result;
    const facts = { layers, highestUid, highestGid, indexBytes, form: parts.form };
    fs.writeFileSync(`${temporary}/facts`, JSON.stringify(facts), { flush: true });
    syncPath(temporary);
    fs.renameSync(temporary, directory);
    syncPath(`${directory}/..`);
    return facts;
  } catch (error) {
    removeTree(temporary);
    throw error;
  }
}

/** The unpacked tree's directory as the worker sees it: on disk are the image's own ids, to the worker they are its own. */
function openTree(parts: ImageParts, path: string): number {
  fs.mkdirSync(path, { mode: 0o755 });
  if (parts.rootless) return fs.openSync(path, DIRECTORY);
  using open = new DisposableStack();
  const users = open.adopt(newUserNamespace(ownIds(parts.workerId)), fs.closeSync);
  const mount = open.adopt(cloneMount(open.adopt(fs.openSync(path, DIRECTORY), fs.closeSync), false), fs.closeSync);
  mountSetattr(mount, MOUNT_ATTR_IDMAP, users);
  return openat2(mount, '.', { flags: DIRECTORY });
}

/** Mounts the image. The kernel takes a tar that is too short, and a missing one, without a word: so their sizes are compared here. */
async function attach(
  parts: ImageParts,
  layers: readonly string[],
  image: { name: string; source: string },
): Promise<void> {
  const devices = layers.toReversed().map((layer) => `${parts.layers.directory(layer)}/tar`);
  for (const [i, layer] of layers.toReversed().entries()) {
    const { size } = fs.statSync(devices[i] ?? '');
    const facts = parts.layers.facts(layer);
    if (size !== facts?.tarBytes)
      throw new Failed('mount the image', `the tar of layer ${layer} has ${size} bytes, not ${facts?.tarBytes}`);
  }
  const failure = await attachImage({ storeNamespace: parts.storeNamespace, ...image, devices });
  if (failure !== undefined) throw new Failed(failure.step, failure.detail, failure);
}
