// --security-opt, --sysctl and --privileged to seccomp, masks, sysctls and no_new_privs.
import { type Hardening, Seccomp } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { HostConfig } from '../spec/docker-config.ts';
import type { NsWish } from './namespaces.ts';
import { type Noted, noted, notYet, type Reason, refuse } from './reason.ts';
import { planSysctls } from './sysctls.ts';

export type Secured = { readonly hardening: Hardening; readonly noNewPrivileges: boolean };

/** Source: moby v28.3, daemon/pkg/oci/defaults.go. Names that a kernel lacks are passed over when the masks are made. */
export const MASKED_PATHS: readonly string[] = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
];
export const READ_ONLY_PATHS: readonly string[] = [
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
];

type Options = {
  readonly seccomp: string | undefined;
  readonly noNewPrivileges: boolean;
  readonly systemPaths: boolean;
  readonly reasons: readonly Reason[];
};

/** Throws bad_parameter with Docker's texts. Source: moby, daemon/daemon_unix.go parseSecurityOpt. */
export function planHardening(host: HostConfig, wish: NsWish): Noted<Secured> {
  const options = readOptions(host.SecurityOpt ?? []);
  const seccomp = chooseSeccomp(options.seccomp, host.Privileged);
  const masks = planMasks(host, options.systemPaths);
  const sysctls = planSysctls(host, wish);
  const hardening = { seccomp: seccomp.value, ...masks.value, sysctls: sysctls.value };
  const nnp: Reason = {
    about: 'no_new_privs',
    text: options.noNewPrivileges ? '--security-opt no-new-privileges' : 'off by default: setuid programs work',
  };
  const reasons = [...options.reasons, ...seccomp.reasons, ...masks.reasons, ...sysctls.reasons, nnp];
  return noted({ hardening, noNewPrivileges: options.noNewPrivileges }, reasons);
}

function readOptions(texts: readonly string[]): Options {
  let read: Options = { seccomp: undefined, noNewPrivileges: false, systemPaths: true, reasons: [] };
  for (const text of texts) read = { ...read, ...readOption(text, read) };
  return read;
}

function readOption(text: string, before: Options): Partial<Options> {
  if (text === 'no-new-privileges') return { noNewPrivileges: true };
  if (text === 'disable') return {};
  const split = /^([^=:]*)[=:](.*)$/s.exec(text);
  if (split === null) return refuse(`invalid --security-opt 1: "${text}"`);
  const [, key = '', value = ''] = split;
  const unused = (why: string): Partial<Options> => ({
    reasons: [...before.reasons, { about: `security-opt ${key}`, text: why }],
  });
  switch (key) {
    case 'seccomp':
      return { seccomp: value };
    case 'no-new-privileges':
      if (!/^(1|t|T|TRUE|true|True|0|f|F|FALSE|false|False)$/.test(value))
        refuse(`invalid --security-opt 2: "${text}"`);
      return { noNewPrivileges: /^[1tT]/.test(value) };
    case 'systempaths':
      if (value !== 'unconfined') refuse(`invalid --security-opt 2: "${text}"`);
      return { systemPaths: false };
    case 'apparmor':
      if (value !== 'unconfined' && value !== '') notYet(`--security-opt ${text}: AppArmor profiles are not there yet`);
      return unused('no AppArmor profile is ever applied');
    case 'label':
      return unused('no SELinux label is ever applied');
    default:
      return refuse(`invalid --security-opt 2: "${text}"`);
  }
}

/** The profile and no_new_privs alone: what an exec shares with its container. */
export function planSeccomp(host: HostConfig): Noted<Seccomp> & { readonly noNewPrivileges: boolean } {
  const options = readOptions(host.SecurityOpt ?? []);
  return { ...chooseSeccomp(options.seccomp, host.Privileged), noNewPrivileges: options.noNewPrivileges };
}

function chooseSeccomp(asked: string | undefined, privileged: boolean): Noted<Seccomp> {
  const note = (value: Seccomp, text: string): Noted<Seccomp> => noted(value, [{ about: 'seccomp', text }]);
  if (asked === 'unconfined') return note(Seccomp.SECCOMP_UNCONFINED, '--security-opt seccomp=unconfined');
  if (asked === undefined || asked === '') {
    return privileged
      ? note(Seccomp.SECCOMP_UNCONFINED, '--privileged')
      : note(Seccomp.SECCOMP_DEFAULT, "Docker's default profile, for the capabilities given");
  }
  if (asked === 'builtin' || asked === 'default')
    return note(Seccomp.SECCOMP_DEFAULT, `--security-opt seccomp=${asked}`);
  return notYet(
    '--security-opt seccomp=PROFILE: profiles of your own are not there yet',
    'use seccomp=builtin or unconfined',
  );
}

type Masks = Pick<Hardening, 'maskedPaths' | 'readOnlyPaths'>;

function planMasks(host: HostConfig, systemPaths: boolean): Noted<Masks> {
  const note = (value: Masks, text: string): Noted<Masks> => noted(value, [{ about: 'masks', text }]);
  if (host.Privileged) return note({ maskedPaths: [], readOnlyPaths: [] }, 'none: --privileged');
  if (!systemPaths) return note({ maskedPaths: [], readOnlyPaths: [] }, 'none: --security-opt systempaths=unconfined');
  const maskedPaths = chosen(host.MaskedPaths, MASKED_PATHS, 'MaskedPaths');
  const readOnlyPaths = chosen(host.ReadonlyPaths, READ_ONLY_PATHS, 'ReadonlyPaths');
  const asked = host.MaskedPaths !== null || host.ReadonlyPaths !== null;
  return note({ maskedPaths, readOnlyPaths }, asked ? 'as the request lists them' : "Docker's list");
}

/** Null: the default; else what is listed, which must be on it. */
function chosen(asked: readonly string[] | null, known: readonly string[], field: string): string[] {
  const strange = (asked ?? []).find((path) => !known.includes(path));
  if (strange !== undefined) refuse(`${field}: ${strange} is not on the list of paths that can be hidden`);
  return known.filter((path) => asked === null || asked.includes(path));
}
