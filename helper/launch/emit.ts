// The launcher of each architecture.
import type { Arch } from '../lower/encode.ts';
import { assembleArm64 } from './arm64.ts';
import { type LauncherFile, wrapElf } from './elf.ts';
import { assembleX64 } from './x64.ts';

/** Emits the launcher's file for an architecture. */
export function emitLauncher(arch: Arch): LauncherFile {
  return wrapElf(arch, arch === 'x64' ? assembleX64() : assembleArm64());
}
