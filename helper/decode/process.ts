// What is executed, by launch and exec: argument vector, ids, resource limits, capabilities. Nothing is left to the kernel's or the helper's choice.
import { CAP_MASK } from '../../proto/abi/capability.gen.ts';
import * as plan from '../../proto/gen/berth/helper/v1/plan.ts';
import { any, list, message, named, PATH_BYTES_MAX, path, type Rule, range, text } from './fields.ts';
import { must } from './malformed.ts';

const STRING_BYTES_MAX = 65_536;
const one: Rule<number | bigint> = range(0, 0xffffffff - 1); // 2^32 - 1 means "no change" to setresuid(2)

const variable: Rule<string> = (value, field) => {
  text(STRING_BYTES_MAX)(value, field);
  must(value.indexOf('=') > 0, field, 'must be KEY=VALUE');
};

const LIMIT = message<plan.ResourceLimit>(
  { resource: named(plan.Resource), soft: any, hard: any },
  ({ soft, hard }, field) => must(soft <= hard, `${field}.soft`, 'must not be above the hard limit'),
);

const known: Rule<bigint> = (set, field) => must((set & ~CAP_MASK) === 0n, field, 'must hold known capabilities only');
const CAPABILITIES = message<plan.Capabilities>(
  { bounding: known, effective: known, permitted: known, inheritable: known, ambient: known },
  ({ bounding, effective, permitted, inheritable, ambient }, field) => {
    must((permitted & ~bounding) === 0n, `${field}.permitted`, 'must be within bounding');
    must((inheritable & ~bounding) === 0n, `${field}.inheritable`, 'must be within bounding');
    must((effective & ~permitted) === 0n, `${field}.effective`, 'must be within permitted');
    must((ambient & ~(permitted & inheritable)) === 0n, `${field}.ambient`, 'must be permitted and inheritable');
  },
);

export const PROCESS = message<plan.Process>({
  argv: list(text(STRING_BYTES_MAX), { least: 1, most: STRING_BYTES_MAX }),
  env: list(variable, { most: STRING_BYTES_MAX }),
  executables: list(text(PATH_BYTES_MAX - 1, 1), { least: 1, most: 64 }),
  cwd: path,
  uid: one,
  gid: one,
  groups: list(one, { most: 1024 }),
  rlimits: list(LIMIT, { most: 16, once: ({ resource }) => resource }),
  capabilities: CAPABILITIES,
  noNewPrivileges: any,
  oomScoreAdj: range(-1000, 1000),
  umask: range(0, 0o777),
});

export const STDIO = message<plan.Stdio>(
  { tty: any, stdin: any, columns: range(0, 65_535), rows: range(0, 65_535) },
  ({ tty, columns, rows }, field) =>
    must(tty || (columns === 0 && rows === 0), `${field}.columns`, 'a size needs a tty'),
);
