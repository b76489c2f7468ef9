// The demo's image: one static program that shows a container's own view of itself, as an archive that `berth load` takes. The program is the
// launcher's code (helper/launch) with its table of system calls in a second segment, so the demo needs no compiler and no image from elsewhere.
import { createHash } from 'node:crypto';
import { assemble } from '../../helper/launch/launcher.ts';
import { type Arch, encodeProgram, PROGRAM_BASE } from '../../helper/lower/encode.ts';
import { createProgram, newLabel, type Program } from '../../helper/lower/program.ts';
import { ENOENT } from '../../proto/abi/errno.gen.ts';
import { AT_FDCWD } from '../../proto/abi/fcntl.gen.ts';
import { SYS_close, SYS_exit_group, SYS_openat, SYS_read, SYS_write } from '../../proto/abi/unistd.gen.ts';

const STDOUT = 1;
const CHUNK = 4096;

/** Title and file of each line or block the program prints. */
const VIEW: readonly (readonly [string, string])[] = [
  ['pid: ', '/proc/self/stat'],
  ['hostname: ', '/proc/sys/kernel/hostname'],
  ['uid map (inside, outside, count):\n', '/proc/self/uid_map'],
  ['control groups:\n', '/proc/self/cgroup'],
  ['memory limit: ', '/sys/fs/cgroup/memory/memory.limit_in_bytes'],
  ['memory limit: ', '/sys/fs/cgroup/memory.max'],
  ['processes limit: ', '/sys/fs/cgroup/pids/pids.max'],
  ['processes limit: ', '/sys/fs/cgroup/pids.max'],
  ['limits:\n', '/proc/self/limits'],
  ['mounts:\n', '/proc/self/mountinfo'],
];

/** Prints every file of the view that exists; the first only up to its pid. */
function viewProgram(): Program {
  const program = createProgram(2);
  const buffer = program.data(new Uint8Array(CHUNK));
  for (const [title, path] of VIEW) {
    const [next, more] = [newLabel(), newLabel()];
    const file = program.call(SYS_openat, [AT_FDCWD, path, 0, 0], { step: path, on: [-ENOENT, next] });
    program.call(SYS_write, [STDOUT, title, title.length]);
    if (title === 'pid: ') {
      program.call(SYS_read, [file, buffer, 2]); // "1 (view) …": the number is all that matters
      program.call(SYS_write, [STDOUT, buffer, 1]);
      program.call(SYS_write, [STDOUT, '\n', 1]);
    } else {
      const done = newLabel();
      program.here(more);
      const size = program.call(SYS_read, [file, buffer, CHUNK], { on: [0, done] });
      program.call(SYS_write, [STDOUT, buffer, size]);
      program.jump(more);
      program.here(done);
    }
    program.call(SYS_close, [file]);
    program.here(next);
  }
  program.call(SYS_exit_group, [0]);
  return program;
}

/** A few instructions before the launcher's: the program's address into its register, a jump to `run`. */
function entry(arch: Arch, run: number): number[] {
  if (arch === 'x64') {
    const imm = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >> shift) & 0xff);
    return [0xbb, ...imm(PROGRAM_BASE), 0xe9, ...imm(run)]; // mov ebx, PROGRAM_BASE; jmp run
  }
  const words = [0xd2a00000 | ((PROGRAM_BASE >>> 16) << 5) | 19, 0x14000000 | ((run + 4) >> 2)]; // movz x19, PROGRAM_BASE >> 16, lsl 16; b run
  return words.flatMap((word) => [0, 8, 16, 24].map((shift) => (word >>> shift) & 0xff));
}

/** A static executable with two segments: code to read and execute, the program to read and write. Source: man 5 elf. */
export function emitView(arch: Arch): Uint8Array {
  const code = assemble(arch);
  const records = encodeProgram(viewProgram(), { arch });
  const head = entry(arch, code.run);
  const codeAt = 64 + 3 * 56;
  const dataAt = 0x1000;
  const file = new Uint8Array(dataAt + records.length);
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, arch === 'x64' ? 62 : 183, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(0x400000 + codeAt), true);
  view.setBigUint64(32, 64n, true);
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 3, true);
  const segment = (
    index: number,
    [type, flags, offset, address, size]: readonly [number, number, number, number, number],
  ): void => {
    const at = 64 + 56 * index;
    view.setUint32(at, type, true);
    view.setUint32(at + 4, flags, true);
    for (const [field, value] of [
      [8, offset],
      [16, address],
      [24, address],
      [32, size],
      [40, size],
      [48, 0x1000],
    ] as const)
      view.setBigUint64(at + field, BigInt(value), true);
  };
  segment(0, [1, 5, 0, 0x400000, codeAt + head.length + code.bytes.length]);
  segment(1, [1, 6, dataAt, PROGRAM_BASE, records.length]);
  segment(2, [0x6474e551, 6, 0, 0, 0]);
  file.set(head, codeAt);
  file.set(code.bytes, codeAt + head.length);
  file.set(records, dataAt);
  return file;
}

type Entry = { readonly name: string; readonly mode: number; readonly body?: Uint8Array; readonly directory?: boolean };

/** A tar of a few plain entries. Source: POSIX.1-2017, pax, ustar Interchange Format. */
function tar(entries: readonly Entry[]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const { name, mode, body = new Uint8Array(), directory } of entries) {
    const header = Buffer.alloc(512);
    const octal = (value: number, at: number, width: number): number =>
      header.write(`${value.toString(8).padStart(width - 1, '0')}\0`, at, 'latin1');
    header.write(name, 0, 'latin1');
    octal(mode, 100, 8);
    octal(0, 108, 8);
    octal(0, 116, 8);
    octal(body.length, 124, 12);
    octal(0, 136, 12);
    header.write(`        ${directory ? '5' : '0'}`, 148, 'latin1');
    header.write('ustar\x0000', 257, 'latin1');
    octal(
      header.reduce((sum, byte) => sum + byte, 0),
      148,
      7,
    );
    parts.push(header, body, new Uint8Array(-body.length & 511));
  }
  return Buffer.concat([...parts, new Uint8Array(1024)]);
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** The archive (an OCI layout in a tar) of the image, to be loaded as `reference`. */
export function demoArchive(arch: Arch, reference: string): Uint8Array {
  const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
  const directories = ['dev', 'etc', 'proc', 'sys', 'tmp'].map(
    (name): Entry => ({ name: `${name}/`, mode: name === 'tmp' ? 0o1777 : 0o755, directory: true }),
  );
  const layer = tar([...directories, { name: 'view', mode: 0o755, body: emitView(arch) }]);
  const config = json({
    architecture: arch === 'x64' ? 'amd64' : 'arm64',
    os: 'linux',
    config: { Entrypoint: ['/view'] },
    rootfs: { type: 'layers', diff_ids: [`sha256:${sha256(layer)}`] },
    history: [{ created_by: 'berth demo' }],
  });
  const describe = (mediaType: string, bytes: Uint8Array): object => ({
    mediaType,
    digest: `sha256:${sha256(bytes)}`,
    size: bytes.length,
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: describe('application/vnd.oci.image.config.v1+json', config),
    layers: [describe('application/vnd.oci.image.layer.v1.tar', layer)],
  });
  const annotations = {
    'io.containerd.image.name': `docker.io/library/${reference}`,
    'org.opencontainers.image.ref.name': reference.split(':')[1] ?? 'latest',
  };
  const index = json({
    schemaVersion: 2,
    manifests: [{ ...describe('application/vnd.oci.image.manifest.v1+json', manifest), annotations }],
  });
  const blobs = [layer, config, manifest].map(
    (body): Entry => ({ name: `blobs/sha256/${sha256(body)}`, mode: 0o644, body }),
  );
  return tar([
    { name: 'oci-layout', mode: 0o644, body: json({ imageLayoutVersion: '1.0.0' }) },
    { name: 'index.json', mode: 0o644, body: index },
    ...blobs,
  ]);
}
