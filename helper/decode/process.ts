// What is executed, by launch and exec: argument vector, ids, resource limits, capabilities.
import { CAP_MASK } from '../../proto/abi/capability.ts';
import { type Process, Resource, type Stdio } from '../../proto/gen/berth/helper/v1/plan.ts';
import { checkEnum, checkPath, checkRange, checkText, checkUnique, PATH_BYTES_MAX, present } from './fields.ts';
import { must } from './malformed.ts';

const ID_MAX = 0xffffffff - 1; // 2^32 - 1 means "no change" to setresuid(2)
const STRING_BYTES_MAX = 65_536;

/** A process: nothing in it may be left to the kernel's or the helper's choice. */
export function checkProcess(process: Process, field: string): void {
  must(process.argv.length >= 1, `${field}.argv`, 'must have at least one element');
  for (const [i, text] of process.argv.entries()) checkText(text, `${field}.argv[${i}]`, STRING_BYTES_MAX);
  for (const [i, text] of process.env.entries()) {
    checkText(text, `${field}.env[${i}]`, STRING_BYTES_MAX);
    must(text.indexOf('=') > 0, `${field}.env[${i}]`, 'must be KEY=VALUE');
  }
  must(
    process.executables.length >= 1 && process.executables.length <= 64,
    `${field}.executables`,
    'must be 1 to 64 files',
  );
  for (const [i, file] of process.executables.entries()) {
    checkText(file, `${field}.executables[${i}]`, PATH_BYTES_MAX - 1);
    must(file !== '', `${field}.executables[${i}]`, 'must not be empty');
  }
  checkPath(process.cwd, `${field}.cwd`);
  checkRange(process.uid, `${field}.uid`, [0, ID_MAX]);
  checkRange(process.gid, `${field}.gid`, [0, ID_MAX]);
  must(process.groups.length <= 1024, `${field}.groups`, 'must be at most 1024');
  for (const [i, group] of process.groups.entries()) checkRange(group, `${field}.groups[${i}]`, [0, ID_MAX]);
  checkRlimits(process, `${field}.rlimits`);
  checkCapabilities(process, `${field}.capabilities`);
  checkRange(process.oomScoreAdj, `${field}.oom_score_adj`, [-1000, 1000]);
  checkRange(process.umask, `${field}.umask`, [0, 0o777]);
}

function checkRlimits(process: Process, field: string): void {
  for (const [i, limit] of process.rlimits.entries()) {
    checkEnum(limit.resource, `${field}[${i}].resource`, Resource);
    must(limit.soft <= limit.hard, `${field}[${i}].soft`, 'must not be above the hard limit');
  }
  checkUnique(
    process.rlimits.map((limit) => limit.resource),
    field,
  );
}

function checkCapabilities(process: Process, field: string): void {
  const caps = present(process.capabilities, field);
  for (const set of ['bounding', 'effective', 'permitted', 'inheritable', 'ambient'] as const) {
    must((caps[set] & ~CAP_MASK) === 0n, `${field}.${set}`, 'must hold known capabilities only');
  }
  must((caps.permitted & ~caps.bounding) === 0n, `${field}.permitted`, 'must be within bounding');
  must((caps.inheritable & ~caps.bounding) === 0n, `${field}.inheritable`, 'must be within bounding');
  must((caps.effective & ~caps.permitted) === 0n, `${field}.effective`, 'must be within permitted');
  must(
    (caps.ambient & ~(caps.permitted & caps.inheritable)) === 0n,
    `${field}.ambient`,
    'must be permitted and inheritable',
  );
}

/** Standard input, output and error. */
export function checkStdio(stdio: Stdio, field: string): void {
  checkRange(stdio.columns, `${field}.columns`, [0, 65_535]);
  checkRange(stdio.rows, `${field}.rows`, [0, 65_535]);
  must(stdio.tty || (stdio.columns === 0 && stdio.rows === 0), `${field}.columns`, 'a size needs a tty');
}
