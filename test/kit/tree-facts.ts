// All facts of a directory tree, for comparing two of them: mode, owner, time, size, link, device, content, attributes, which names are one file.
// As a program, in a mount namespace of its own: `tree-facts.ts DIR JOBS` reads a JSON list of {image, tars}, mounts each EROFS image on DIR
// and prints the list of facts as JSON, with a string for an image that cannot be mounted.
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  writeFileSync,
} from 'node:fs';
import { fileURLToPath } from 'node:url';
import koffi from 'koffi';

const libc = koffi.load('libc.so.6');
const llistxattr = libc.func('long llistxattr(const uint8_t *path, _Out_ uint8_t *list, size_t size)');
const lgetxattr = libc.func(
  'long lgetxattr(const uint8_t *path, const uint8_t *name, _Out_ uint8_t *value, size_t size)',
);
const mount = libc.func(
  'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
);

const umount = libc.func('int umount(const char *target)');

export type Facts = Record<string, string>;

const zeroEnded = (bytes: Uint8Array): Buffer => Buffer.concat([bytes, Buffer.of(0)]);

function xattrs(path: Uint8Array): string[] {
  const list = Buffer.alloc(65536);
  const length = Number(llistxattr(zeroEnded(path), list, list.length));
  if (length < 0) throw new Error(`llistxattr ${path}: errno ${koffi.errno()}`);
  const names = list
    .subarray(0, length)
    .toString('latin1')
    .split('\0')
    .filter((name) => name !== '' && name !== 'security.selinux');
  return names.sort().map((name) => {
    const value = Buffer.alloc(65536);
    const size = Number(lgetxattr(zeroEnded(path), zeroEnded(Buffer.from(name, 'latin1')), value, value.length));
    return `${name}=${size < 0 ? `errno ${koffi.errno()}` : value.subarray(0, size).toString('hex')}`;
  });
}

/** Facts by path (a character per byte, "" the root). `times: false` leaves times out, `links: false` which names are one file. */
export function treeFacts(root: string, options: { times?: boolean; links?: boolean } = {}): Facts {
  const facts: Facts = {};
  const first = new Map<string, string>();
  const visit = (path: Buffer, name: string): void => {
    const stat = lstatSync(path, { bigint: true });
    const type = stat.mode & 0o170000n;
    const parts = [stat.mode.toString(8), `${stat.uid}:${stat.gid}`];
    if (options.times !== false) parts.push(`${stat.mtimeNs}`);
    if (type === 0o120000n) parts.push(`-> ${readlinkSync(path, 'buffer').toString('latin1')}`);
    if (type === 0o20000n || type === 0o60000n) parts.push(`device ${stat.rdev}`);
    if (type === 0o100000n)
      parts.push(`${stat.size} ${createHash('sha256').update(readFileSync(path)).digest('hex').slice(0, 16)}`);
    if (type !== 0o40000n && stat.nlink > 1n && options.links !== false) {
      const one = first.get(`${stat.ino}`) ?? name;
      first.set(`${stat.ino}`, one);
      parts.push(`${stat.nlink} links, as ${one}`);
    }
    facts[name] = [...parts, ...xattrs(path)].join(' ');
    if (type !== 0o40000n) return;
    const names = readdirSync(path, { encoding: 'buffer' })
      .map((kid) => kid.toString('latin1'))
      .sort();
    for (const kid of names)
      visit(Buffer.concat([path, Buffer.from(`/${kid}`, 'latin1')]), name === '' ? kid : `${name}/${kid}`);
  };
  visit(Buffer.from(root), '');
  return facts;
}

/** The paths at which two trees differ, with both facts. */
export function differences(a: Facts, b: Facts): string[] {
  const paths = [...new Set([...Object.keys(a), ...Object.keys(b)])].sort();
  return paths
    .filter((path) => a[path] !== b[path])
    .map((path) => `${path}: ${a[path] ?? 'missing'} | ${b[path] ?? 'missing'}`);
}

/** An image and its tars, bottom first. With `upper` and `work` an overlay lies on it; `tails` gives only each file's size and last twelve bytes. */
export type MountJob = {
  image: string;
  tars: string[];
  upper?: string;
  work?: string;
  tails?: boolean;
  links?: boolean;
};
/** A read-only overlay of directories, topmost first. */
export type OverlayJob = { lowers: string[] };

function overlaid(dir: string, job: OverlayJob): Facts | string {
  if (mount('overlay', dir, 'overlay', 1, `lowerdir=${job.lowers.join(':')},userxattr`) !== 0)
    return `overlay: errno ${koffi.errno()}`;
  const facts = treeFacts(dir, { links: false });
  if (umount(dir) !== 0) throw new Error(`umount ${dir}: errno ${koffi.errno()}`);
  return facts;
}

function mounted(dir: string, job: MountJob): Facts | string {
  const data = job.tars.map((tar) => `device=${tar}`).join(',');
  if (mount(job.image, dir, 'erofs', 1, data) !== 0) return `mount of ${job.image}: errno ${koffi.errno()}`;
  let depth = 1;
  if (job.upper !== undefined) {
    const options = `lowerdir=${dir},upperdir=${job.upper},workdir=${job.work},userxattr`;
    if (mount('overlay', dir, 'overlay', 0, options) !== 0) return `overlay on ${job.image}: errno ${koffi.errno()}`;
    depth = 2;
  }
  const facts = job.tails ? tails(dir) : treeFacts(dir, { links: job.links !== false });
  for (; depth > 0; depth--) if (umount(dir) !== 0) throw new Error(`umount ${dir}: errno ${koffi.errno()}`);
  return facts;
}

function tails(dir: string): Facts {
  return Object.fromEntries(
    readdirSync(dir).map((name) => {
      const fd = openSync(`${dir}/${name}`, 'r');
      const { size } = fstatSync(fd);
      const last = Buffer.alloc(12);
      readSync(fd, last, 0, 12, size - 12);
      closeSync(fd);
      return [name, `${size} ${last.toString('latin1').replaceAll('\0', '')}`];
    }),
  );
}

/** Facts of EROFS images and overlays, mounted one by one in a mount namespace of its own; needs root. */
export function mountedFacts(dir: string, jobs: readonly (MountJob | OverlayJob)[]): (Facts | string)[] {
  const list = `${dir}.jobs`;
  writeFileSync(list, JSON.stringify(jobs));
  const command = ['-m', '--propagation', 'private', process.execPath, fileURLToPath(import.meta.url), dir, list];
  return JSON.parse(execFileSync('unshare', command, { encoding: 'utf8', maxBuffer: 2 ** 30 }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [dir = '', list = ''] = process.argv.slice(2);
  const jobs = JSON.parse(readFileSync(list, 'utf8')) as (MountJob | OverlayJob)[];
  process.stdout.write(JSON.stringify(jobs.map((job) => ('lowers' in job ? overlaid(dir, job) : mounted(dir, job)))));
}
