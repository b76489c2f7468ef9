// Benches of size: a pull from a local registry to the first container, and what a start costs with many layers and many containers beside it.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { busyboxImage, busyboxTar, dockerSave20, makeImage } from '../kit/image.ts';
import { installed } from '../kit/peers.ts';
import { startRegistry } from '../kit/registry.ts';
import { tarOf } from '../kit/tar.ts';
import { debianTar, toolsTar } from './debian.ts';
import { api, type Field, IMAGE, PODMAN_LIMITS, QUIET } from './field.ts';
import { type Contestant, type Outcome, race } from './kit.ts';

/** Pulls Debian from a registry of this machine, with nothing of it in the page cache, and starts a container of it. */
export async function pull(field: Field, smoke: boolean): Promise<Outcome[]> {
  const tars =
    smoke || !installed('docker-registry') ? [] : [debianTar(), toolsTar()].filter((tar) => tar !== undefined);
  if (tars.length === 0) return [];
  await using registry = await startRegistry();
  const layers = tars.map((tar) => readFileSync(tar));
  const image = makeImage({ layers, config: { Cmd: ['bash'] } });
  const megabytes = layers.reduce((sum, layer) => sum + layer.length, 0) >> 20;
  const reference = await registry.push(image, 'debian:1');
  const settle = (): void => {
    execFileSync('sync');
    writeFileSync('/proc/sys/vm/drop_caches', '3');
  };
  const first = (cli: (...args: string[]) => string, more: { pull?: string[]; run?: string[] } = {}) => ({
    prepare: settle,
    run: () => {
      cli('pull', ...(more.pull ?? []), reference);
      cli('run', '--rm', ...QUIET, ...(more.run ?? []), reference, '/bin/true');
      execFileSync('sync');
    },
    after: () => void cli('rmi', reference),
  });
  const contestants: Contestant[] = [{ name: 'berth pull, run', ...first(field.berth) }];
  if (field.docker) contestants.push({ name: 'docker pull, run', ...first(field.docker.cli) });
  if (field.podman) {
    const more = { pull: ['--tls-verify=false'], run: PODMAN_LIMITS };
    contestants.push({ name: 'podman pull, run', ...first(field.podman, more) });
  }
  const title = `pull of Debian with tools (${megabytes} MiB) from a local registry to its first container, all on disk`;
  return [await race(title, contestants, { rounds: 4, target: 0.25 })];
}

/** A container by the API, from create to removed. */
export async function lifeByApi(socket: string, image = IMAGE): Promise<void> {
  const body = { Image: image, Cmd: ['true'], HostConfig: { NetworkMode: 'none' } };
  const { Id } = JSON.parse(await api(socket, 'POST', '/containers/create', body)) as { Id: string };
  await api(socket, 'POST', `/containers/${Id}/start`);
  await api(socket, 'POST', `/containers/${Id}/wait`);
  await api(socket, 'DELETE', `/containers/${Id}`);
}

/** The same start of an image of 120 layers, and among 500 containers that run, beside the plain one. */
export async function scale(field: Field, smoke: boolean): Promise<Outcome[]> {
  const [layers, running, rounds] = smoke ? [40, 5, 3] : [120, 500, 40];
  const one = (i: number) =>
    tarOf([
      { name: `l${i}`, content: `${i}` },
      { name: 'top', content: `${i}` },
    ]);
  const deep = busyboxImage({}, { layers: [busyboxTar(), ...Array.from({ length: layers - 1 }, (_, i) => one(i))] });
  const archive = join(field.dir, 'deep.tar');
  writeFileSync(archive, dockerSave20([{ image: deep, tags: ['deep:1'] }]));
  field.berth('load', '-i', archive);
  const many: Contestant = { name: `${layers} layers`, run: () => lifeByApi(field.socket, 'deep:1') };
  const few: Contestant = { name: '1 layer', run: () => lifeByApi(field.socket) };
  const outcomes = [await race('start to removed by layers of the image', [many, few], { rounds, target: 1.3 })];
  field.berth('rmi', 'deep:1');
  const alone = await race('start to removed, nothing else running', [few], { rounds });
  const ids = Array.from({ length: running }, () => field.berth('run', '-d', ...QUIET, IMAGE, 'sleep', '3600'));
  const crowded = await race(`start to removed among ${running} that run`, [few], { rounds });
  field.berth('rm', '-f', ...ids);
  const [a, b] = [crowded.rows[0]?.median ?? Number.NaN, alone.rows[0]?.median ?? Number.NaN];
  const row = (name: string, value: number, ratio?: number) => ({ name, min: value, median: value, p95: value, ratio });
  const rows = [row(`among ${running}`, a), row('alone', b, a / b)];
  return [...outcomes, { title: 'start to removed by what else runs', unit: 'ms', target: 1.3, rows }];
}
