// The helper's answers as sentences: a refusal names rule, field, what was asked and the most allowed; a failure names the step, the
// kernel's reason and what to do.
import { constants } from 'node:os';
import type { Failure, Reason } from '../../proto/gen/berth/helper/v1/request.ts';
import { BerthError, type Code } from '../base/errors.ts';

// Of two names for a number the first: EAGAIN before EWOULDBLOCK.
const NAMES = new Map(
  Object.entries(constants.errno)
    .map(([name, value]) => [value, name] as const)
    .reverse(),
);

/** One line for one reason. */
export function reasonText(reason: Reason): string {
  const asked = reason.asked === '' ? '' : ` is ${reason.asked}`;
  const allowed = reason.allowed === '' ? '' : `, allowed is ${reason.allowed}`;
  return `${reason.field}${asked}${allowed} (rule ${reason.rule})`;
}

/** helper_refused with every reason in one line. */
export class Refusal extends BerthError {
  readonly reasons: readonly Reason[];
  constructor(reasons: readonly Reason[]) {
    const text = reasons.map(reasonText).join('; ');
    super('helper_refused', `refused by policy: ${text === '' ? 'no reason was given' : text}`, {
      hint: 'berth policy show prints what you may ask; an administrator may change it',
    });
    this.reasons = reasons;
  }
}

/** Whether the only thing against it was the state of what it names: it is not there (any more), or already as asked. */
export function isStateRefusal(error: unknown): error is Refusal {
  return (
    error instanceof Refusal && error.reasons.length > 0 && error.reasons.every((reason) => reason.rule === 'state')
  );
}

// Why, for people, and what to do about it, where there is something to do.
const WHY: Readonly<Record<string, readonly [why: string, hint?: string]>> = {
  EACCES: ['permission denied'],
  EPERM: ['operation not permitted'],
  ENOENT: ['no such file or directory'],
  ENOTDIR: ['not a directory'],
  EISDIR: ['is a directory'],
  ENOEXEC: ['exec format error', 'the program is for another architecture, or a script without #! in its first line'],
  ELOOP: ['too many symbolic links'],
  ENOSPC: ['no space left on device', 'free space in the state directory: berth rm, berth rmi'],
  EDQUOT: ['disk quota exceeded', 'free space: berth rm, berth rmi'],
  EMFILE: ['too many open files in the helper'],
  ENFILE: ['too many open files on this machine', 'raise fs.file-max'],
  EAGAIN: ['the limit of processes is reached', 'raise kernel.pid_max or the pids limit of the cgroup above'],
  ENOMEM: ['out of memory'],
  ENODEV: ['no such device or file system'],
  EINVAL: ['invalid argument'],
  EBUSY: ['busy'],
  ETXTBSY: ['the program is being written'],
  EROFS: ['read-only file system'],
  ETIMEDOUT: ['it took too long'],
  EUSERS: ['too many user namespaces', 'raise user.max_user_namespaces'],
};

const KINDS_DIFFER = 'a directory cannot be mounted onto a file, nor a file onto a directory';
const NO_OWNERS =
  'a file system at or beneath the source has owners that cannot be mapped (overlay, FUSE, NFS): bind a directory without one, or without what is mounted beneath: --mount type=bind,…,bind-recursive=disabled';

/** What an error number means of a mount alone. */
function mountHint(step: string, errno: string): string | undefined {
  if (!step.startsWith('bind ') && !step.startsWith('mount ')) return undefined;
  if (errno === 'EACCES' && step.endsWith(': make the mount point'))
    return `it would be made in a directory of the host that is not this user's: make it there, or give the directory to ${process.getuid?.()}:${process.getgid?.()}`;
  if (errno === 'ENOTDIR' || errno === 'EISDIR') return KINDS_DIFFER;
  return errno === 'EINVAL' && step.endsWith(': map the owners') ? NO_OWNERS : undefined;
}

/**
 * What the kernel's (or the store's) no means for the one who asked: `step: why: detail (call: ERRNO)`. What the detail only repeats is left
 * out.
 */
export function failed(failure: Failure): BerthError {
  const { step, call, errno } = failure;
  const name = errno === 0 ? '' : (NAMES.get(errno) ?? `errno ${errno}`);
  const [why, usual] = WHY[name] ?? [name];
  const hint = mountHint(step, name) ?? usual;
  const told = failure.detail.replace(`${step}: `, '');
  const detail = told === name || told === step ? '' : told;
  const text = [step, why, detail].filter((part) => part !== '').join(': ');
  const from = name === '' ? '' : ` (${[call, name].filter(Boolean).join(': ')})`;
  return new BerthError(failureCode(step, name), `${text}${from}`, hint === undefined ? {} : { hint });
}

function failureCode(step: string, errno: string): Code {
  if (!step.startsWith('execute')) return 'launch_failed';
  if (errno === 'ENOENT') return 'program_not_found';
  if (errno === 'EACCES' || errno === 'ENOEXEC' || errno === 'EISDIR' || errno === 'ENOTDIR' || errno === 'EPERM')
    return 'not_executable';
  return 'launch_failed';
}
