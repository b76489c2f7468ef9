// A real image: Debian made by debootstrap once, kept by key in /var/cache/berth-test, as an archive of `docker save`.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { dockerSave20, makeImage } from '../kit/image.ts';
import { installed } from '../kit/peers.ts';

const cache = '/var/cache/berth-test';

/** Path of the tar of a Debian root file system; undefined where debootstrap is missing. */
export function debianTar(): string | undefined {
  const tar = join(cache, 'debian.tar');
  if (existsSync(tar)) return tar;
  if (!installed('debootstrap') || process.getuid?.() !== 0) return undefined;
  mkdirSync(cache, { recursive: true });
  const tree = join(cache, `tree.${process.pid}`);
  const made = spawnSync('debootstrap', ['--variant=minbase', 'bookworm', tree], { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(`debootstrap: ${made.stdout.slice(-500)}${made.stderr}`);
  execFileSync('tar', ['-C', tree, '--numeric-owner', '--xattrs', '-cf', `${tar}.${process.pid}`, '.']);
  renameSync(`${tar}.${process.pid}`, tar);
  rmSync(tree, { recursive: true, force: true });
  return tar;
}

/** Path of the tar of a second layer, of this machine's own tools: as much again, in many small files. Undefined where debianTar is. */
export function toolsTar(): string | undefined {
  const tar = join(cache, 'tools.tar');
  if (existsSync(tar)) return tar;
  if (debianTar() === undefined) return undefined;
  const trees = ['usr/lib/gcc', 'usr/lib/python3.11', 'usr/share/perl', 'usr/share/doc'];
  const found = trees.filter((tree) => existsSync(`/${tree}`));
  execFileSync('tar', ['-C', '/', '--numeric-owner', '-cf', `${tar}.${process.pid}`, ...found]);
  renameSync(`${tar}.${process.pid}`, tar);
  return tar;
}

/** Path of an archive of the image `debian-bench:1`; undefined where it cannot be made. */
export function debianArchive(): string | undefined {
  const archive = join(cache, 'debian-bench.tar');
  if (existsSync(archive)) return archive;
  const tar = debianTar();
  if (!tar) return undefined;
  const image = makeImage({
    layers: [readFileSync(tar)],
    config: { Cmd: ['bash'], Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'] },
  });
  writeFileSync(`${archive}.${process.pid}`, dockerSave20([{ image, tags: ['debian-bench:1'] }]));
  renameSync(`${archive}.${process.pid}`, archive);
  return archive;
}
