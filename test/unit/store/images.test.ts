import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Digest } from '../../../core/base/brand.ts';
import { readImageConfig } from '../../../core/spec/oci.ts';
import { parseReference } from '../../../core/spec/reference.ts';
import {
  digestsOf,
  findImage,
  forgetLayer,
  imageSize,
  removeDigest,
  removeImage,
  removeTag,
  saveImage,
  saveLayer,
  tagImage,
  tagsOf,
  unusedLayers,
} from '../../../core/store/images.ts';
import { openStore, type Store } from '../../../core/store/open.ts';
import type { ImageRecord } from '../../../core/store/records.ts';
import { type KitImage, makeImage } from '../../kit/image.ts';
import { tarOf } from '../../kit/tar.ts';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'berth-store-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const base = tarOf([{ name: 'base', content: 'b' }]);
const imageA = makeImage({ layers: [base, tarOf([{ name: 'a', content: 'a' }])] });
const imageB = makeImage({ layers: [base, base, tarOf([{ name: 'b', content: 'b' }])] });

function record(image: KitImage): ImageRecord {
  const layers = image.layers.map((layer) => ({ diffId: layer.diffId, blob: layer.digest }));
  return {
    id: image.id,
    configBytes: new Uint8Array(image.config),
    config: readImageConfig(image.config),
    layers,
    addedMs: 5,
  };
}

function add(store: Store, image: KitImage, ...names: string[]): void {
  for (const { diffId, tar, digest, mediaType, blob } of image.layers) {
    saveLayer(
      store,
      { diffId, size: tar.length, addedMs: 1 },
      { digest, diffId, mediaType, size: blob.length, kept: false },
    );
  }
  const tags = names.map(parseReference);
  const source = { name: parseReference(names[0] ?? 'x'), digest: image.digest };
  saveImage(store, { image: record(image), tags, source });
}

const names = (store: Store, id: Digest): string[] =>
  tagsOf(store, id).map((tag) => `${tag.reference.path}:${tag.reference.tag}`);

describe('images', () => {
  test('are there after closing and opening again', () => {
    {
      using store = openStore(dir);
      add(store, imageA, 'app', 'h.x:5/app:2');
    }
    using store = openStore(dir);
    expect(store.images.get(imageA.id)).toEqual(record(imageA));
    expect(names(store, imageA.id)).toEqual(['library/app:latest', 'app:2']);
    expect(digestsOf(store, imageA.id)).toEqual([`docker.io/library/app@${imageA.digest}`]);
    expect(store.blobs.get(imageA.layers[0]?.digest as Digest)).toMatchObject({
      diffId: imageA.layers[0]?.diffId,
      kept: false,
    });
  });

  test('a tag moves to the image it is given last', () => {
    using store = openStore(dir);
    add(store, imageA, 'app:1');
    add(store, imageB, 'app:1', 'b');
    expect([names(store, imageA.id), names(store, imageB.id)]).toEqual([[], ['library/app:1', 'library/b:latest']]);
    tagImage(store, { reference: parseReference('new'), imageId: imageA.id, taggedMs: 9 });
    expect(findImage(store, 'new:latest').id).toBe(imageA.id);
    const withDigest = { reference: parseReference(`x@${imageA.digest}`), imageId: imageA.id, taggedMs: 9 };
    expect(() => tagImage(store, withDigest)).toThrow(expect.objectContaining({ code: 'bad_parameter' }));
  });

  test('removing one leaves what others stand on, and tells what nobody needs', () => {
    {
      using store = openStore(dir);
      add(store, imageA, 'a');
      add(store, imageB, 'b');
      expect(imageSize(store, record(imageB))).toBe(base.length + (imageB.layers[2]?.tar.length ?? 0));
      removeImage(store, imageB.id);
      expect(unusedLayers(store).map((layer) => layer.diffId)).toEqual([imageB.layers[2]?.diffId]);
      expect(() => forgetLayer(store, imageA.layers[0]?.diffId as Digest)).toThrow(
        expect.objectContaining({ code: 'internal' }),
      );
      expect(() => findImage(store, 'b')).toThrow('No such image: b:latest');
    }
    using store = openStore(dir);
    expect(unusedLayers(store)).toHaveLength(1);
    forgetLayer(store, imageB.layers[2]?.diffId as Digest);
    expect([store.layers.size, store.blobs.size, store.digests.size, store.tags.size]).toEqual([2, 2, 1, 1]);
  });

  test('names can be taken away one by one', () => {
    using store = openStore(dir);
    add(store, imageA, 'a:1', 'a:2');
    removeTag(store, parseReference('a:1'));
    removeTag(store, parseReference('unknown'));
    removeDigest(store, parseReference('a'), imageA.digest);
    expect([names(store, imageA.id), digestsOf(store, imageA.id)]).toEqual([['library/a:2'], []]);
    expect(store.images.has(imageA.id)).toBe(true);
  });

  test('a layer that is not recorded cannot be part of an image', () => {
    using store = openStore(dir);
    expect(() => saveImage(store, { image: record(imageA), tags: [parseReference('a')], source: undefined })).toThrow(
      /FOREIGN KEY/,
    );
    expect([store.images.size, store.tags.size]).toEqual([0, 0]);
  });
});

describe('findImage()', () => {
  test('takes ids, names, digests and beginnings of ids', () => {
    using store = openStore(dir);
    add(store, imageA, 'app:1');
    const hex = imageA.id.slice(7);
    for (const ref of [
      imageA.id,
      hex,
      'app:1',
      'docker.io/library/app:1',
      `app@${imageA.digest}`,
      hex.slice(0, 12),
      `sha256:${hex.slice(0, 4)}`,
    ]) {
      expect(findImage(store, ref).id, ref).toBe(imageA.id);
    }
  });

  test.each([
    ['app', 'image_not_found', 'No such image: app:latest'],
    ['h.x/app:2', 'image_not_found', 'No such image: h.x/app:2'],
    [`sha256:${'0'.repeat(64)}`, 'image_not_found', `No such image: sha256:${'0'.repeat(64)}`],
    ['App', 'bad_parameter', 'invalid reference format: repository name (library/App) must be lowercase'],
    ['', 'bad_parameter', 'invalid reference format'],
  ])('%j is not there', (ref, code, message) => {
    using store = openStore(dir);
    add(store, imageA, 'app:1');
    expect(() => findImage(store, ref)).toThrow(expect.objectContaining({ code, message }));
  });

  test('refuses a beginning that two ids share', () => {
    using store = openStore(dir);
    for (let i = 0; i < 20; i++) add(store, makeImage({ layers: [base], config: { Env: [`I=${i}`] } }), `i${i}`);
    const firsts = [...store.images.keys()].map((id) => id.slice(7, 8));
    const twice = firsts.find((c, i) => firsts.indexOf(c) !== i) as string;
    expect(() => findImage(store, `sha256:${twice}`)).toThrow(expect.objectContaining({ code: 'bad_parameter' }));
  });
});
