// Containers as `docker ps` lists them, with its filters.
import { BerthError } from '../base/errors.ts';
import type { ContainerSummary } from '../spec/docker-api.ts';
import { humanDuration } from '../spec/units.ts';
import { findImage } from '../store/images.ts';
import { wallNs } from './clock.ts';
import { type Container, statusOf } from './container.ts';
import { type Context, findContainer } from './context.ts';
import type { ListQuery } from './engine.ts';
import { commandOf, mountsOf, networkOf } from './inspect.ts';
import { shownHostConfig } from './config.ts';

const STATUSES = /^(created|running|paused|restarting|removing|exited|dead)$/;

/** Newest first. Throws bad_parameter for a filter that Docker does not have. */
export function listContainers(context: Context, query: ListQuery): ContainerSummary[] {
  const filters = query.filters;
  const all =
    query.all ||
    query.limit !== undefined ||
    (filters['status'] ?? []).length > 0 ||
    (filters['exited'] ?? []).length > 0;
  const tests = Object.entries(filters).flatMap(([name, values]) =>
    values.length === 0 ? [] : [testOf(context, name, values)],
  );
  const found = [...context.containers.values()]
    .sort(newestFirst)
    .filter((container) => all || container.record.state.kind === 'running' || container.restartTimer !== undefined)
    .filter((container) => tests.every((test) => test(container)));
  return found.slice(0, query.limit).map((container) => summary(container));
}

function newestFirst(a: Container, b: Container): number {
  const [x, y] = [BigInt(a.record.createdNs), BigInt(b.record.createdNs)];
  return x < y ? 1 : x > y ? -1 : 0;
}

type Test = (container: Container) => boolean;

/** Any of the values; a label must match each. Source: moby daemon/list.go. */
function testOf(context: Context, name: string, values: readonly string[]): Test {
  switch (name) {
    case 'id':
      return ({ record }) => values.some((value) => record.id.startsWith(value));
    case 'name':
      return ({ record }) =>
        values.some((value) => pattern(value).test(record.name) || pattern(value).test(`/${record.name}`));
    case 'label':
      return ({ record }) => values.every((value) => hasLabel(record.config.Labels ?? {}, value));
    case 'status': {
      checkValues(name, values, STATUSES);
      return (container) => values.includes(statusOf(container));
    }
    case 'exited':
      checkValues(name, values, /^[+-]?\d{1,9}$/);
      return ({ record }) => record.state.kind === 'exited' && values.map(Number).includes(record.state.code);
    case 'ancestor': {
      const ids = new Set(values.flatMap((value) => imageId(context, value)));
      return ({ record }) =>
        record.image !== undefined && (ids.has(record.image.id) || values.includes(record.image.reference));
    }
    case 'before':
    case 'since': {
      const sign = name === 'before' ? 1 : -1;
      const others = values.map((value) => findContainer(context, value));
      return (container) => others.every((other) => newestFirst(container, other) === sign);
    }
    case 'volume':
      return ({ record }) =>
        mountsOf(record.body).some((mount) =>
          values.some((value) => mount.Source === value || mount.Destination === value),
        );
    case 'network':
      return ({ record }) => values.includes(shownHostConfig(record.body.HostConfig).NetworkMode);
    case 'health':
      checkValues(name, values, /^(none|starting|healthy|unhealthy)$/);
      return () => values.includes('none');
    case 'is-task':
      checkValues(name, values, /^(0|1|true|false)$/i);
      return () => values.some((value) => /^(0|false)$/i.test(value));
    case 'publish':
    case 'expose':
    case 'isolation':
      return () => false;
    default:
      throw new BerthError('bad_parameter', `invalid filter '${name}'`);
  }
}

function checkValues(name: string, values: readonly string[], valid: RegExp): void {
  const wrong = values.find((value) => !valid.test(value));
  if (wrong !== undefined) throw new BerthError('bad_parameter', `invalid filter '${name}=${wrong}'`);
}

function pattern(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch (error) {
    throw new BerthError('bad_parameter', `invalid filter 'name=${text}': it is no regular expression`, {
      cause: error,
    });
  }
}

/** `key` or `key=value`. */
export function hasLabel(labels: Readonly<Record<string, string>>, wanted: string): boolean {
  const at = wanted.indexOf('=');
  const key = at < 0 ? wanted : wanted.slice(0, at);
  return Object.hasOwn(labels, key) && (at < 0 || labels[key] === wanted.slice(at + 1));
}

function imageId(context: Context, ref: string): string[] {
  try {
    return [findImage(context.store, ref).id];
  } catch (error) {
    if (error instanceof BerthError) return [];
    throw error;
  }
}

function summary(container: Container): ContainerSummary {
  const { record } = container;
  const host = shownHostConfig(record.body.HostConfig);
  return {
    Id: record.id,
    Names: [`/${record.name}`],
    Image: record.image?.reference ?? record.body.Rootfs ?? '',
    ImageID: record.image?.id ?? '',
    Command: commandOf(record).map(quoted).join(' '),
    Created: Number(BigInt(record.createdNs) / 1_000_000_000n),
    Ports: [],
    Labels: record.config.Labels ?? {},
    State: statusOf(container),
    Status: statusText(container),
    HostConfig: { NetworkMode: host.NetworkMode },
    NetworkSettings: { Networks: networkOf(record.body).Networks },
    Mounts: mountsOf(record.body),
  };
}

/** Docker puts an argument with spaces in quotes, whatever it holds beside; never the program. Source: moby daemon/list.go. */
function quoted(word: string, at: number): string {
  return at > 0 && word.includes(' ') ? `'${word}'` : word;
}

/** `Up 2 seconds (Paused)`, `Exited (0) 3 minutes ago`. Source: moby daemon/container/state.go. */
export function statusText(container: Container): string {
  const { state } = container.record;
  const ago = (ns: string): string => humanDuration(Number((wallNs() - BigInt(ns)) / 1_000_000n));
  if (container.removing) return 'Removal In Progress';
  switch (state.kind) {
    case 'created':
      return 'Created';
    case 'running':
      return `Up ${ago(state.startedNs)}${state.paused ? ' (Paused)' : ''}`;
    case 'exited':
      return container.restartTimer === undefined
        ? `Exited (${state.code}) ${ago(state.finishedNs)} ago`
        : `Restarting (${state.code}) ${ago(state.finishedNs)} ago`;
  }
}
