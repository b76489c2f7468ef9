// The commands about who may do what: keys, principals, policy, the audit log. Their modules read and write files beneath /etc/berth; the engine is
// asked by whoami alone.
import type { Command, Handler } from './command.ts';
import { flag } from './container-flags.ts';

const JSON_FLAG = flag('--json', 'Print JSON');
const policy = (pick: (module: typeof import('./policy.ts')) => Handler) => async (): Promise<Handler> =>
  pick(await import('./policy.ts'));
const admin = (pick: (module: typeof import('./admin.ts')) => Handler) => async (): Promise<Handler> =>
  pick(await import('./admin.ts'));
const key = (pick: (module: typeof import('./key.ts')) => Handler) => async (): Promise<Handler> =>
  pick(await import('./key.ts'));
const FILE = { usage: '[FILE]', words: { min: 0, max: 1 } } as const;

export const ADMIN_COMMANDS: readonly Command[] = [
  {
    names: [['policy', 'check']],
    ...FILE,
    summary: "Check a policy's text: every key known, every value possible",
    flags: [],
    load: policy((module) => module.checkPolicy),
  },
  {
    names: [['policy', 'test']],
    ...FILE,
    summary: 'Ask a policy the cases written in its list `tests`',
    flags: [],
    load: policy((module) => module.testPolicy),
  },
  {
    names: [['policy', 'can']],
    usage: '[OPTIONS] -- run [RUN OPTIONS] IMAGE [COMMAND] [ARG...]',
    summary: 'Tell whether a policy allows a command line, and why not',
    flags: [
      flag('--file string', 'Text of a policy (default: the compiled one in force)'),
      flag('--profile string', 'Profile to ask', { preset: 'default' }),
      flag('--uid string', 'User who would ask (default: you)'),
    ],
    words: { min: 1 },
    stopAtWord: true,
    load: policy((module) => module.canRun),
  },
  {
    names: [['policy', 'show']],
    usage: '[OPTIONS] [PROFILE...]',
    summary: 'Print the policy in force; of profiles, what all of them allow',
    flags: [JSON_FLAG],
    words: { min: 0 },
    load: policy((module) => module.showPolicy),
  },
  {
    names: [['policy', 'apply']],
    ...FILE,
    summary: "Compile a policy's text to what the helper reads; it holds at once",
    flags: [],
    load: policy((module) => module.applyPolicy),
  },
  {
    names: [['key', 'new']],
    ...FILE,
    summary: 'Make a signing key (default: the one your engine uses)',
    flags: [],
    load: key((module) => module.newKey),
  },
  {
    names: [['key', 'show']],
    ...FILE,
    summary: "Print a key's id and its public half",
    flags: [],
    load: key((module) => module.showKey),
  },
  {
    names: [['admin', 'enroll']],
    usage: '[OPTIONS] NAME',
    summary: 'Let a user in: make a principal, or add a key to one',
    flags: [
      flag('--key string', 'Public key, 64 hexadecimal digits, or a file that holds it', { shown: 'key' }),
      flag('--not-after string', 'When the key ends, 2030-12-31T00:00:00Z', { preset: 'never', shown: 'time' }),
      flag('--profile list', 'Profile the principal may use, most usual first', { preset: 'default', shown: 'name' }),
      flag('--uid string', 'The user, as the kernel knows him', { shown: 'uid' }),
    ],
    words: { min: 1, max: 1 },
    load: admin((module) => module.enroll),
  },
  {
    names: [['admin', 'list']],
    usage: '[OPTIONS]',
    summary: 'List principals',
    flags: [JSON_FLAG],
    words: { min: 0, max: 0 },
    load: admin((module) => module.listPrincipals),
  },
  {
    names: [['admin', 'revoke']],
    usage: '[OPTIONS] NAME [KEYID]',
    summary: 'Take a key of a principal away, or all; it is refused at once',
    flags: [flag('--forget', 'Remove the principal; where users enrol themselves, he may come back')],
    words: { min: 1, max: 2 },
    load: admin((module) => module.revoke),
  },
  {
    names: [['audit']],
    usage: '[OPTIONS]',
    summary: 'Print the audit log, or check that it is whole',
    flags: [
      flag('--directory string', "Another log than the instance's", { shown: 'dir' }),
      flag('--find string', 'Print the record that has this SHA-256', { shown: 'hash' }),
      JSON_FLAG,
      flag('--verify', 'Check the chain of all records'),
    ],
    words: { min: 0, max: 0 },
    load: async () => (await import('./audit.ts')).audit,
  },
  {
    names: [['whoami']],
    usage: '[OPTIONS]',
    summary: 'Print who the helper takes you for',
    flags: [JSON_FLAG],
    words: { min: 0, max: 0 },
    load: async () => (await import('./whoami.ts')).whoami,
  },
];
