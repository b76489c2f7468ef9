// Images as the servers see them: list, inspect, tag.
import type { Digest } from '../base/brand.ts';
import { BerthError } from '../base/errors.ts';
import type { ImageInspect, ImageSummary } from '../spec/docker-api.ts';
import { familiarText, parseReference, readReference } from '../spec/reference.ts';
import { digestsOf, findImage, imageSize, tagImage, tagsOf } from '../store/images.ts';
import type { Store } from '../store/open.ts';
import type { ImageRecord } from '../store/records.ts';
import { timeText } from './clock.ts';
import type { Context } from './context.ts';
import type { Images } from './engine.ts';
import { removeImageVerb } from './image-remove.ts';
import type { Layers } from './layers.ts';
import { hasLabel } from './list.ts';
import { loadVerb } from './load.ts';
import { pullVerb } from './pull.ts';

export type ImagesParts = {
  readonly context: Context;
  readonly layers: Layers;
  readonly insecureRegistries: readonly string[];
};

export function makeImages(parts: ImagesParts): Images {
  const { context } = parts;
  const { store } = context;
  return {
    pull: pullVerb(parts),
    load: loadVerb(parts),
    list: async ({ filters }) => listImages(context, filters),
    inspect: async (ref) => inspectImage(store, findImage(store, ref)),
    tag: async (ref, text) => {
      const image = findImage(store, ref);
      const reference = parseReference(text);
      tagImage(store, { reference, imageId: image.id, taggedMs: Date.now() });
      context.events.emit({
        type: 'image',
        action: 'tag',
        id: image.id,
        attributes: { name: familiarText(reference) },
      });
    },
    remove: removeImageVerb(parts),
  };
}

/** `busybox@sha256:…`, as people see it. */
export function familiarDigest(canonical: string): string {
  const read = readReference(canonical);
  return read.kind === 'reference' ? familiarText(read.reference) : canonical;
}

function createdSeconds(image: ImageRecord): number {
  const ms = Date.parse(image.config.created);
  return Number.isNaN(ms) ? 0 : Math.floor(ms / 1000);
}

type Filters = Readonly<Record<string, readonly string[]>>;

function listImages(context: Context, filters: Filters): ImageSummary[] {
  const { store } = context;
  const tests = Object.entries(filters).flatMap(([name, values]) =>
    values.length === 0 ? [] : [testOf(store, name, values)],
  );
  return [...store.images.values()]
    .filter((image) => tests.every((test) => test(image)))
    .sort((a, b) => createdSeconds(b) - createdSeconds(a) || (a.id < b.id ? -1 : 1))
    .map((image) => summary(context, image, filters['reference'] ?? []));
}

function testOf(store: Store, name: string, values: readonly string[]): (image: ImageRecord) => boolean {
  switch (name) {
    case 'dangling': {
      const wanted = values.map((value) => {
        if (!['true', '1', 'false', '0'].includes(value))
          throw new BerthError('bad_parameter', `invalid filter 'dangling=${value}'`);
        return value === 'true' || value === '1';
      });
      return (image) => wanted.includes(tagsOf(store, image.id).length === 0);
    }
    case 'reference':
      return (image) => namesOf(store, image.id, values).length > 0;
    case 'label':
      return (image) => values.every((value) => hasLabel(image.config.config.Labels ?? {}, value));
    case 'before':
    case 'since': {
      const others = values.map((value) => createdSeconds(findImage(store, value)));
      return (image) =>
        others.every((other) => (name === 'before' ? createdSeconds(image) < other : createdSeconds(image) > other));
    }
    default:
      throw new BerthError('bad_parameter', `invalid filter '${name}'`);
  }
}

/** The tags that match one of the patterns: `busybox`, `busybox:1*`. Source: Go path.Match over familiar names. */
function namesOf(store: Store, id: Digest, patterns: readonly string[]): string[] {
  const names = tagsOf(store, id).map((tag) => familiarText(tag.reference));
  if (patterns.length === 0) return names;
  const expressions = patterns.map(globOf);
  return names.filter((name) =>
    expressions.some((expression) => expression.test(name) || expression.test(name.replace(/:[^:/]*$/, ''))),
  );
}

function globOf(pattern: string): RegExp {
  const literal = pattern.replace(/[^\w*?/-]/g, (character) => `\\${character}`);
  return new RegExp(`^(?:${literal.replaceAll('*', '[^/]*').replaceAll('?', '[^/]')})$`);
}

function summary(context: Context, image: ImageRecord, patterns: readonly string[]): ImageSummary {
  const { store, containers } = context;
  const size = imageSize(store, image);
  return {
    Containers: [...containers.values()].filter((container) => container.record.image?.id === image.id).length,
    Created: createdSeconds(image),
    Id: image.id,
    Labels: image.config.config.Labels,
    ParentId: '',
    RepoDigests: digestsOf(store, image.id).map(familiarDigest),
    RepoTags: namesOf(store, image.id, patterns),
    SharedSize: -1,
    Size: size,
    VirtualSize: size,
  };
}

function inspectImage(store: Store, image: ImageRecord): ImageInspect {
  const { config, layers } = image;
  const size = imageSize(store, image);
  const tags = tagsOf(store, image.id);
  const last = Math.max(0, ...tags.map((tag) => tag.taggedMs));
  return {
    Id: image.id,
    RepoTags: tags.map((tag) => familiarText(tag.reference)),
    RepoDigests: digestsOf(store, image.id).map(familiarDigest),
    Parent: '',
    Comment: config.comment,
    Created: config.created,
    DockerVersion: config.docker_version,
    Author: config.author,
    Config: config.config,
    Architecture: config.architecture,
    Variant: config.variant,
    Os: config.os,
    OsVersion: config['os.version'],
    Size: size,
    VirtualSize: size,
    GraphDriver: { Data: null, Name: 'berth' },
    RootFS: { Type: 'layers', Layers: layers.map((layer) => layer.diffId) },
    Metadata: { LastTagTime: last === 0 ? '0001-01-01T00:00:00Z' : timeText(BigInt(last) * 1_000_000n) },
  };
}
