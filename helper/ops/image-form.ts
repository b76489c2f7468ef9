// In which form this host uses images: tried out by mounting one with no entries, made by the worker like any other. What was found holds for this
// kernel; it also fails where the store itself lies on overlayfs.
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { ImageForm } from '../../proto/gen/berth/helper/v1/request.ts';
import { attachImage, detachImage } from '../launch/namespaces.ts';
import { makeDirectory, readText, removeTree, writeWhole } from './files.ts';
import { newFile } from './layers.ts';
import type { Worker } from './worker.ts';

const PROBE = 'probe';
const TAR_BYTES = 1024;

export type Probing = { readonly root: string; readonly storeNamespace: number; readonly worker: Worker };

/** The form; forced by BERTH_IMAGE_FORM=unpacked, remembered beneath `root`. */
export async function findImageForm(probing: Probing): Promise<ImageForm> {
  if (process.env['BERTH_IMAGE_FORM'] === 'unpacked') return ImageForm.IMAGE_FORM_UNPACKED;
  const file = `${probing.root}/image-form`;
  const [kernel, form] = (readText(file) ?? '').split(' ');
  if (kernel === release()) return Number(form) as ImageForm;
  const mounts = await mountsErofs(probing);
  const found = mounts ? ImageForm.IMAGE_FORM_EROFS : ImageForm.IMAGE_FORM_UNPACKED;
  writeWhole(file, `${release()} ${found}`);
  return found;
}

async function mountsErofs({ root, storeNamespace, worker }: Probing): Promise<boolean> {
  const directory = makeDirectory(`${root}/tmp/${PROBE}`);
  const at = (name: string): string => `${directory}/${name}`;
  writeFileSync(at('layer'), emptyLayerIndex());
  writeFileSync(at('tar'), Buffer.alloc(TAR_BYTES));
  const fds = [newFile(at('image')), newFile(at('index')), openSync(at('layer'), 'r')] as const;
  try {
    await worker({
      mode: 'merge',
      args: ['1'],
      descriptors: [undefined, fds[0], fds[1], undefined, fds[2]],
      bytesMax: 1 << 20,
    });
    const failure = await attachImage({ storeNamespace, name: PROBE, source: at('image'), devices: [at('tar')] });
    if (failure === undefined) await detachImage(storeNamespace, PROBE);
    return failure === undefined;
  } finally {
    for (const fd of fds) closeSync(fd);
    removeTree(directory);
  }
}

/** The header alone: no entries, no names. Source: core/spec/layer-index.ts. */
function emptyLayerIndex(): Buffer {
  const header = Buffer.alloc(128);
  header.write('BERTHLYR');
  for (const [at, value] of [
    [8, 1],
    [12, 128],
    [16, 96],
    [24, TAR_BYTES],
  ] as const)
    header.writeUInt32LE(value, at);
  return header;
}
