// The options of --tmpfs.
import type { TmpfsMount } from '../../proto/gen/berth/helper/v1/plan.ts';
import { notYet, refuse } from './reason.ts';

export type MountFlags = {
  readonly readOnly: boolean;
  readonly noSuid: boolean;
  readonly noDev: boolean;
  readonly noExec: boolean;
};

/** What Docker gives a tmpfs; size 0 is the kernel's default. Source: moby, daemon/oci_linux.go withMounts; mode: shmem.c. */
export const defaultTmpfs: TmpfsMount = { sizeBytes: 0n, mode: 0o1777, uid: 0, gid: 0 };
const DEFAULT_FLAGS: MountFlags = { readOnly: false, noSuid: true, noDev: true, noExec: true };

const FLAGS: Readonly<Record<string, Partial<MountFlags>>> = {
  ro: { readOnly: true },
  rw: { readOnly: false },
  suid: { noSuid: false },
  nosuid: { noSuid: true },
  dev: { noDev: false },
  nodev: { noDev: true },
  exec: { noExec: false },
  noexec: { noExec: true },
};
// What a new tmpfs is anyway.
const NOTHING = ['', 'defaults', 'async', 'relatime', 'private', 'rprivate', 'nomand'];
// Docker hands these to the kernel; the plan has no words for them.
const KNOWN = ['sync', 'dirsync', 'mand', 'noatime', 'atime', 'nodiratime', 'diratime', 'norelatime', 'strictatime'];
const KNOWN_VALUES = ['nr_inodes', 'nr_blocks', 'mpol'];
const FACTOR: Readonly<Record<string, bigint>> = { '': 1n, k: 1n << 10n, m: 1n << 20n, g: 1n << 30n, t: 1n << 40n };
const SIZE_MOST = 2n ** 53n - 1n;

export type TmpfsOptions = {
  readonly tmpfs: TmpfsMount;
  /** The size as a share of the machine's memory, in its hundredths. */
  readonly percent: bigint | undefined;
  readonly flags: MountFlags;
};

/**
 * `size=64m,mode=1777,uid=1,exec`: the last of a kind wins. Throws bad_parameter with Docker's text for what is no option of a tmpfs.
 * Source: github.com/moby/sys/mount, MergeTmpfsOptions; man 5 tmpfs.
 */
export function readTmpfsOptions(options: string): TmpfsOptions {
  let tmpfs: Sized = defaultTmpfs;
  let flags = DEFAULT_FLAGS;
  for (const option of options.split(',')) {
    const flag = Object.hasOwn(FLAGS, option) ? FLAGS[option] : undefined;
    if (flag !== undefined) flags = { ...flags, ...flag };
    else if (option.includes('=')) tmpfs = { ...tmpfs, ...readValue(option) };
    else if (KNOWN.includes(option)) notYet(`tmpfs option "${option}" is not supported`);
    else if (!NOTHING.includes(option)) refuse(`invalid tmpfs option "${option}"`);
  }
  const { percent, ...rest } = tmpfs;
  return { tmpfs: rest, percent, flags };
}

type Sized = TmpfsMount & { readonly percent?: bigint | undefined };

function readValue(option: string): Partial<Sized> {
  const at = option.indexOf('=');
  const name = option.slice(0, at);
  const value = option.slice(at + 1);
  switch (name) {
    case 'size':
      return readSize(option, value);
    case 'mode':
      return { mode: readNumber(option, { text: value, digits: /^[0-7]{1,5}$/, radix: 8, most: 0o7777 }) };
    case 'uid':
    case 'gid':
      return { [name]: readNumber(option, { text: value, digits: /^\d{1,10}$/, radix: 10, most: 2 ** 31 - 1 }) };
    default:
      if (KNOWN_VALUES.includes(name)) notYet(`tmpfs option "${name}" is not supported`);
      return refuse(`invalid tmpfs option "${name}"`);
  }
}

type Digits = { readonly text: string; readonly digits: RegExp; readonly radix: number; readonly most: number };

function readNumber(option: string, { text, digits, radix, most }: Digits): number {
  const number = digits.test(text) ? Number.parseInt(text, radix) : Number.NaN;
  return number <= most ? number : refuse(`invalid tmpfs option "${option}"`);
}

/** Bytes, or a share of the machine's memory. Source: mm/shmem.c, shmem_parse_one. */
function readSize(option: string, text: string): Pick<Sized, 'sizeBytes' | 'percent'> {
  const percent = BigInt(/^(\d{1,3})%$/.exec(text)?.[1] ?? '0');
  if (percent > 0n) return { sizeBytes: 0n, percent };
  const match = /^(\d{1,18})([kmgt]?)b?$/i.exec(text);
  if (match === null) return refuse(`invalid tmpfs option "${option}"`);
  const size = BigInt(match[1] ?? '0') * (FACTOR[(match[2] ?? '').toLowerCase()] ?? 1n);
  if (size === 0n || size > SIZE_MOST) refuse(`invalid tmpfs option "${option}"`);
  return { sizeBytes: size, percent: undefined };
}
