// Suites that need something of the machine: where it is missing they are skipped by name with the reason, and CI, which sets
// BERTH_MUST_RUN, fails instead, so that nothing is skipped there by accident.
import { execFileSync, spawnSync } from 'node:child_process';
import { describe, test } from 'vitest';
import { staticBusybox } from './image.ts';

export type Need = { readonly reason: string; readonly met: () => boolean };

function canMakeNamespaces(flags: string[]): boolean {
  return spawnSync('unshare', [...flags, 'true'], { stdio: 'ignore' }).status === 0;
}

/** Root with the right to mount: not merely uid 0 of a locked-down container. */
export const root: Need = {
  reason: 'needs root with CAP_SYS_ADMIN (uid 0 outside a locked-down container)',
  met: () => process.getuid?.() === 0 && canMakeNamespaces(['--mount']),
};

/** A user namespace made without root. */
export const userNamespaces: Need = {
  reason:
    'needs unprivileged user namespaces (user.max_user_namespaces above 0, no AppArmor or seccomp rule against them)',
  met: () => canMakeNamespaces(['--user', '--map-root-user', '--mount']),
};

/** A program on PATH; `from` is Debian's package that has it. */
export function tool(name: string, from: string = name): Need {
  return {
    reason: `needs ${name} (Debian package ${from})`,
    met: () => spawnSync('sh', ['-c', `command -v ${name}`], { stdio: 'ignore' }).status === 0,
  };
}

/** What images of the tests are made of. */
export const busybox: Need = {
  reason: 'needs a static busybox (Debian package busybox-static)',
  met: () => staticBusybox() !== undefined,
};

/** The first of the needs that is not met; undefined when all are. */
export function unmet(needs: readonly Need[]): string | undefined {
  return needs.find((need) => !need.met())?.reason;
}

/** `describe` that runs only when every need is met; else one skipped test names the reason, or fails where BERTH_MUST_RUN is set. */
export function suite(name: string, needs: readonly Need[], body: () => void): void {
  const reason = unmet(needs);
  if (reason === undefined) describe(name, body);
  else if (process.env['BERTH_MUST_RUN']) test(name, () => Promise.reject(new Error(`must run here, but ${reason}`)));
  else describe(name, () => test.skip(`skipped: ${reason}`, () => {}));
}

/** Standard output of a command, trimmed; throws with its standard error. */
export function output(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
}
