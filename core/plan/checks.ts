// What the kernel would answer badly, said before starting and in words: a program that is not there, not executable, a directory,
// without its interpreter or loader, or built for another machine.
import type { Process } from '../../proto/gen/berth/helper/v1/plan.ts';
import { BerthError } from '../base/errors.ts';
import type { Facts, Found } from './facts.ts';
import { cleanPath, isWithin } from './paths.ts';
import { architectureOf, readProgramFile } from './program-file.ts';

export type Looked = {
  readonly who: Process;
  /** Targets of mounts: what lies beneath them was not looked at. */
  readonly targets: readonly string[];
  readonly facts: Facts;
};

/**
 * Throws program_not_found (127) or not_executable (126) with runc's texts where the lookups prove it; what was not looked at is left to
 * the kernel. Source: runc 1.1, Go os/exec LookPath; man 2 execve.
 */
export function checkProgram(looked: Looked): void {
  const { who } = looked;
  const program = who.argv[0] ?? '';
  const named = program.includes('/');
  for (const file of who.executables) {
    const found = find(looked, file);
    if (found === undefined) return;
    if (named) checkNamed(program, found, who);
    if (found.kind === 'file' && mayExecute(found, who)) {
      checkFormat({ looked, file, found });
      return;
    }
  }
  throw new BerthError('program_not_found', `exec: "${program}": executable file not found in $PATH`);
}

/**
 * Paths that the checks want looked at and that the lookups do not hold yet: the engine looks, plans again, and stops when there are none.
 * `more`: other paths the plan cares for, such as targets of binds.
 */
export function wantedLookups(looked: Looked, more: readonly string[] = []): string[] {
  const { who, facts } = looked;
  const covered = who.executables.findIndex((file) => isCovered(looked, resolve(who, file)));
  const tried = (covered < 0 ? who.executables : who.executables.slice(0, covered)).map((file) => resolve(who, file));
  const found = tried.map((path) => (Object.hasOwn(facts.lookups, path) ? facts.lookups[path] : undefined));
  const first = found.find((one) => one?.kind === 'file' && mayExecute(one, who));
  const next = first?.kind === 'file' ? nextOf(first) : undefined;
  const wanted = [...more, ...(first === undefined ? tried : []), ...(next === undefined ? [] : [next])];
  return [...new Set(wanted)].filter((path) => !Object.hasOwn(facts.lookups, path) && !isCovered(looked, path));
}

function resolve(who: Process, file: string): string {
  return cleanPath(file.startsWith('/') ? file : `${who.cwd}/${file}`);
}

function isCovered(looked: Looked, path: string): boolean {
  return looked.targets.some((target) => isWithin(path, target));
}

/** What lies there, unless a mount does or it was not looked at. */
function find(looked: Looked, file: string): Found | undefined {
  const path = resolve(looked.who, file);
  const { lookups } = looked.facts;
  const found = Object.hasOwn(lookups, path) ? lookups[path] : undefined;
  return found === undefined || isCovered(looked, path) || isCovered(looked, found.at) ? undefined : found;
}

function checkNamed(program: string, found: Found, who: Process): void {
  if (found.kind === 'missing') {
    throw new BerthError('program_not_found', `exec: "${program}": stat ${program}: no such file or directory`);
  }
  if (found.kind === 'directory') {
    throw new BerthError('not_executable', `exec: "${program}": is a directory: permission denied`);
  }
  if (found.kind === 'other' || !mayExecute(found, who)) {
    throw new BerthError('not_executable', `exec: "${program}": permission denied`);
  }
}

type FoundFile = Extract<Found, { kind: 'file' }>;

/** Source: man 7 path_resolution: the first class that fits decides; root needs any execute bit. */
function mayExecute(file: FoundFile, who: Process): boolean {
  if (who.uid === 0) return (file.mode & 0o111) !== 0;
  if (who.uid === file.uid) return (file.mode & 0o100) !== 0;
  const inGroup = who.gid === file.gid || who.groups.includes(file.gid);
  return (file.mode & (inGroup ? 0o010 : 0o001)) !== 0;
}

/** The interpreter or loader that must be there, too. */
function nextOf(file: FoundFile): string | undefined {
  const read = readProgramFile(file.head);
  const next = read.kind === 'script' ? read.interpreter : read.kind === 'elf' ? read.loader : undefined;
  return next?.startsWith('/') === true ? cleanPath(next) : undefined;
}

type OneFile = { readonly looked: Looked; readonly file: string; readonly found: FoundFile };

function checkFormat({ looked, file, found }: OneFile): void {
  const { architecture, emulated } = looked.facts.host;
  const read = readProgramFile(found.head);
  if (read.kind === 'unknown') {
    throw new BerthError('not_executable', `exec ${file}: exec format error`, {
      hint: 'it is neither a program nor a script: a script begins with #! and its interpreter',
    });
  }
  if (read.kind === 'elf') {
    const built = architectureOf(read.machine);
    if (built !== undefined && built !== architecture && !emulated.includes(built)) {
      throw new BerthError('not_executable', `exec ${file}: exec format error: it is built for ${built}`, {
        hint: `this machine is ${architecture}: use an image for it, or register an emulator with binfmt_misc`,
      });
    }
  }
  const next = nextOf(found);
  if (next === undefined || find(looked, next)?.kind !== 'missing') return;
  const noun = read.kind === 'script' ? 'its interpreter' : 'the loader it asks for,';
  throw new BerthError('program_not_found', `exec ${file}: no such file or directory`, {
    hint: `${noun} ${next} is not there`,
  });
}
