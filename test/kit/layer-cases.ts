// 34 odd layers over one base, with what an image of both must show. Measured with docker 20.10 load, podman 4.3 load and ctr 1.6 import:
// where they differ docker is followed, but implied parents keep the lower directory's mode, as containerd has it.
import type { TarItem } from './tar.ts';

const file = (name: string, content: string): TarItem => ({ name, content });
const dir = (name: string, mode = 0o755): TarItem => ({ name, type: '5', mode });
const symlink = (name: string, link: string): TarItem => ({ name, type: '2', link });
const hardlink = (name: string, link: string): TarItem => ({ name, type: '1', link });

/** The layer beneath all of them. */
export const BASE: readonly TarItem[] = [
  ...[dir('usr'), dir('usr/lib'), file('usr/lib/a', 'base-a'), symlink('lib', 'usr/lib'), symlink('abs', '/usr/lib')],
  ...[symlink('dang', 'nowhere'), symlink('out', '../../../../../../tmp'), file('file', 'plain'), dir('data')],
  ...[file('data/x', 'low-x'), file('data/y', 'low-y'), dir('etc', 0o700), symlink('loop', 'loop')],
];

/** What differs from the base alone, in lines of listing(), or what the refusal says. */
export type LayerCase = { name: string; items: readonly TarItem[] } & (
  | { plus: string[]; minus: string[] }
  | { error: RegExp }
);

const lib = { minus: ['lib 120777 -> usr/lib'] };
const X = '100644 n1';
export const CASES: readonly LayerCase[] = [
  { name: 'symparent', items: [file('lib/x', 'new-x')], plus: ['lib 40755', `lib/x ${X} new-x`], ...lib },
  {
    name: 'symparent_dir',
    items: [dir('lib'), file('lib/x', 'new-x')],
    plus: ['lib 40755', `lib/x ${X} new-x`],
    ...lib,
  },
  {
    name: 'symparent_same',
    items: [symlink('s', 'usr/lib'), file('s/x', 'new-x')],
    error: /"s\/x".*no "usr" on the way/,
  },
  {
    name: 'abssym',
    items: [file('abs/x', 'new-x')],
    plus: ['abs 40755', `abs/x ${X} new-x`],
    minus: ['abs 120777 -> /usr/lib'],
  },
  {
    name: 'outsym',
    items: [file('out/berth-esc', 'esc')],
    plus: ['out 40755', `out/berth-esc ${X} esc`],
    minus: ['out 120777 -> ../../../../../../tmp'],
  },
  {
    name: 'dangsym',
    items: [file('dang/x', 'x')],
    plus: ['dang 40755', `dang/x ${X} x`],
    minus: ['dang 120777 -> nowhere'],
  },
  {
    name: 'loopsym',
    items: [file('loop/x', 'x')],
    plus: ['loop 40755', `loop/x ${X} x`],
    minus: ['loop 120777 -> loop'],
  },
  {
    name: 'hl_lower',
    items: [hardlink('data/hl', 'data/x')],
    error: /"data\/hl".*hard link to "data\/x", which is not an earlier entry/,
  },
  { name: 'hl_lower_abs', items: [hardlink('data/hl', '/data/x')], error: /hard link to "data\/x"/ },
  { name: 'hl_after', items: [hardlink('hl', 'late'), file('late', 'late')], error: /hard link to "late"/ },
  { name: 'hl_missing', items: [hardlink('hl', 'nope')], error: /hard link to "nope"/ },
  { name: 'hl_escape', items: [hardlink('hl', '../../../etc/passwd')], error: /no "etc" on the way/ },
  {
    name: 'hl_symlink',
    items: [symlink('sl', 'file2'), hardlink('hl', 'sl')],
    plus: ['hl 120777 -> file2', 'sl 120777 -> file2'],
    minus: [],
  },
  { name: 'hl_dir', items: [hardlink('hl', 'data')], error: /hard link to "data"/ },
  {
    name: 'hl_wh',
    items: [file('data/x', 'up-x'), file('data/.wh.y', ''), hardlink('data/hl', 'data/y')],
    plus: [`data/x ${X} up-x`],
    minus: [`data/x ${X} low-x`, `data/y ${X} low-y`],
  },
  { name: 'wh_sym', items: [file('lib/.wh.a', '')], plus: ['lib 40755'], ...lib },
  {
    name: 'opq_sym',
    items: [file('lib/.wh..wh..opq', ''), file('lib/n', 'n')],
    plus: ['lib 40755', `lib/n ${X} n`],
    ...lib,
  },
  {
    name: 'file_parent',
    items: [file('file/x', 'x')],
    plus: ['file 40755', `file/x ${X} x`],
    minus: [`file ${X} plain`],
  },
  { name: 'file_parent_same', items: [file('g', 'g'), file('g/x', 'x')], error: /"g" is not a directory/ },
  { name: 'implied_mode', items: [file('etc/new', 'n')], plus: [`etc/new ${X} n`], minus: [] },
  { name: 'implied_new', items: [file('p/q/r', 'n')], plus: ['p 40755', 'p/q 40755', `p/q/r ${X} n`], minus: [] },
  { name: 'dup', items: [file('d1', 'one'), file('d1', 'two')], error: /"d1".*second entry with the same path/ },
  {
    name: 'dup_wh',
    items: [file('data/z', 'z'), file('data/.wh.z', '')],
    error: /whiteout of what this layer itself adds/,
  },
  {
    name: 'wh_then_add',
    items: [file('data/.wh.x', ''), file('data/x', 'again')],
    plus: [`data/x ${X} again`],
    minus: [`data/x ${X} low-x`],
  },
  {
    name: 'dir_over_file',
    items: [dir('file'), file('file/x', 'x')],
    plus: ['file 40755', `file/x ${X} x`],
    minus: [`file ${X} plain`],
  },
  {
    name: 'file_over_dir',
    items: [file('data', 'now a file')],
    plus: [`data ${X} now a file`],
    minus: ['data 40755', `data/x ${X} low-x`, `data/y ${X} low-y`],
  },
  {
    name: 'opq_late',
    items: [file('data/n', 'n'), file('data/.wh..wh..opq', '')],
    plus: [`data/n ${X} n`],
    minus: [`data/x ${X} low-x`, `data/y ${X} low-y`],
  },
  { name: 'dotdot', items: [file('data/../esc', 'x')], plus: [`esc ${X} x`], minus: [] },
  { name: 'dotdot_out', items: [file('../esc', 'x')], plus: [`esc ${X} x`], minus: [] },
  { name: 'abs', items: [file('/absfile', 'x')], plus: [`absfile ${X} x`], minus: [] },
  { name: 'wh_root', items: [file('.wh..wh..opq', '')], plus: [], minus: [] },
  { name: 'wh_dot', items: [file('data/.wh..', '')], error: /whiteout of nothing, "." or ".."/ },
  { name: 'wh_dotdot', items: [file('data/.wh...', '')], error: /whiteout of nothing, "." or ".."/ },
  {
    name: 'wh_plnk',
    items: [dir('.wh..wh.plnk'), file('.wh..wh.plnk/1.2', 'p'), hardlink('data/h', '.wh..wh.plnk/1.2')],
    plus: ['.wh..wh.plnk 40755', '.wh..wh.plnk/1.2 100644 n2 p', 'data/h 100644 n2 p'],
    minus: [],
  },
];
