// Every command of `berth`: names, words, flags and the module that does it. Parser, help and dispatch read only this table. Modules load when used.
import { ADMIN_COMMANDS } from './commands-admin.ts';
import type { Command, Flag, Handler } from './command.ts';
import { CREATE_FLAGS, EXPLAIN_FLAGS, flag, RUN_FLAGS, UPDATE_FLAGS } from './container-flags.ts';

const FORMAT = flag(
  '-f, --format string',
  "Format output using a custom template: 'json', 'table TEMPLATE' or 'TEMPLATE' (Go template)",
);
const LIST_FORMAT = flag(
  '--format string',
  "Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE' (Go template)",
);
const FILTER = flag('-f, --filter list', 'Filter output based on conditions provided', { shown: 'filter' });
const DETACH_KEYS = flag('--detach-keys string', 'Override the key sequence for detaching a container');
const NO_TRUNC = flag('--no-trunc', "Don't truncate output");
const ONE_CONTAINER = { usage: '[OPTIONS] CONTAINER', words: { min: 1, max: 1 } } as const;
const CONTAINERS = { usage: '[OPTIONS] CONTAINER [CONTAINER...]', words: { min: 1 } } as const;
const STOPPING: readonly Flag[] = [
  flag('-s, --signal string', 'Signal to send to the container'),
  flag('-t, --timeout int', 'Seconds to wait before killing the container'),
  flag('--time int', 'Seconds to wait before killing the container', {
    hidden: true,
    deprecated: 'use --timeout instead',
  }),
];

/** A command by one word that is also one of `berth container`. */
function onContainer(word: string, more: Omit<Command, 'names'>, ...others: readonly string[]): Command {
  return { names: [[word], ['container', word], ...others.map((other) => ['container', other])], ...more };
}

const verbs = (pick: (module: typeof import('./verbs.ts')) => Handler) => async (): Promise<Handler> =>
  pick(await import('./verbs.ts'));

const making: readonly Command[] = [
  onContainer('run', {
    usage: '[OPTIONS] IMAGE [COMMAND] [ARG...]',
    summary: 'Create and run a new container from an image',
    flags: RUN_FLAGS,
    words: { min: 1, unless: 'rootfs' },
    stopAtWord: true,
    load: async () => (await import('./run.ts')).runContainer,
  }),
  onContainer('create', {
    usage: '[OPTIONS] IMAGE [COMMAND] [ARG...]',
    summary: 'Create a new container',
    flags: CREATE_FLAGS,
    words: { min: 1, unless: 'rootfs' },
    stopAtWord: true,
    load: async () => (await import('./create.ts')).createContainer,
  }),
  onContainer('exec', {
    usage: '[OPTIONS] CONTAINER COMMAND [ARG...]',
    summary: 'Execute a command in a running container',
    flags: [
      flag('-d, --detach', 'Detached mode: run command in the background'),
      DETACH_KEYS,
      flag('-e, --env list', 'Set environment variables'),
      flag('--env-file list', 'Read in a file of environment variables'),
      flag('-i, --interactive', 'Keep STDIN open even if not attached'),
      flag('--privileged', 'Give extended privileges to the command'),
      flag('-t, --tty', 'Allocate a pseudo-TTY'),
      flag('-u, --user string', 'Username or UID (format: "<name|uid>[:<group|gid>]")'),
      flag('-w, --workdir string', 'Working directory inside the container'),
    ],
    words: { min: 2 },
    stopAtWord: true,
    load: async () => (await import('./exec.ts')).execInContainer,
  }),
  onContainer('attach', {
    ...ONE_CONTAINER,
    summary: 'Attach local standard input, output, and error streams to a running container',
    flags: [
      DETACH_KEYS,
      flag('--no-stdin', 'Do not attach STDIN'),
      flag('--sig-proxy', 'Proxy all received signals to the process', { preset: 'true' }),
    ],
    load: async () => (await import('./attach.ts')).attachContainer,
  }),
  onContainer('start', {
    ...CONTAINERS,
    summary: 'Start one or more stopped containers',
    flags: [
      flag('-a, --attach', 'Attach STDOUT/STDERR and forward signals'),
      DETACH_KEYS,
      flag('-i, --interactive', "Attach container's STDIN"),
    ],
    load: async () => (await import('./start.ts')).startContainers,
  }),
];

const life: readonly Command[] = [
  onContainer('stop', {
    ...CONTAINERS,
    summary: 'Stop one or more running containers',
    flags: STOPPING,
    load: verbs((of) => of.stop),
  }),
  onContainer('restart', {
    ...CONTAINERS,
    summary: 'Restart one or more containers',
    flags: STOPPING,
    load: verbs((of) => of.restart),
  }),
  onContainer('kill', {
    ...CONTAINERS,
    summary: 'Kill one or more running containers',
    flags: [flag('-s, --signal string', 'Signal to send to the container')],
    load: verbs((of) => of.kill),
  }),
  onContainer('pause', {
    usage: 'CONTAINER [CONTAINER...]',
    words: { min: 1 },
    summary: 'Pause all processes within one or more containers',
    flags: [],
    load: verbs((of) => of.pause),
  }),
  onContainer('unpause', {
    usage: 'CONTAINER [CONTAINER...]',
    words: { min: 1 },
    summary: 'Unpause all processes within one or more containers',
    flags: [],
    load: verbs((of) => of.unpause),
  }),
  onContainer('wait', {
    usage: 'CONTAINER [CONTAINER...]',
    words: { min: 1 },
    summary: 'Block until one or more containers stop, then print their exit codes',
    flags: [],
    load: verbs((of) => of.wait),
  }),
  onContainer(
    'rm',
    {
      ...CONTAINERS,
      summary: 'Remove one or more containers',
      flags: [
        flag('-f, --force', 'Force the removal of a running container (uses SIGKILL)'),
        flag('-l, --link', 'Remove the specified link'),
        flag('-v, --volumes', 'Remove anonymous volumes associated with the container'),
      ],
      load: verbs((of) => of.remove),
    },
    'remove',
  ),
  onContainer('rename', {
    usage: 'CONTAINER NEW_NAME',
    words: { min: 2, max: 2 },
    summary: 'Rename a container',
    flags: [],
    load: verbs((of) => of.rename),
  }),
  onContainer('update', {
    ...CONTAINERS,
    summary: 'Update configuration of one or more containers',
    flags: UPDATE_FLAGS,
    load: async () => (await import('./update.ts')).updateContainers,
  }),
];

const reading: readonly Command[] = [
  {
    names: [['ps'], ['container', 'ls'], ['container', 'list'], ['container', 'ps']],
    usage: '[OPTIONS]',
    summary: 'List containers',
    flags: [
      flag('-a, --all', 'Show all containers (default shows just running)'),
      FILTER,
      LIST_FORMAT,
      flag('-n, --last int', 'Show n last created containers (includes all states)', { preset: '-1' }),
      flag('-l, --latest', 'Show the latest created container (includes all states)'),
      NO_TRUNC,
      flag('-q, --quiet', 'Only display container IDs'),
      flag('-s, --size', 'Display total file sizes'),
    ],
    words: { min: 0, max: 0 },
    load: async () => (await import('./ps.ts')).listContainers,
  },
  {
    names: [['inspect']],
    usage: '[OPTIONS] NAME|ID [NAME|ID...]',
    summary: 'Return low-level information on Docker objects',
    flags: [
      FORMAT,
      flag('-s, --size', 'Display total file sizes if the type is container'),
      flag('--type string', 'Only inspect objects of the given type'),
    ],
    words: { min: 1 },
    load: async () => (await import('./inspect.ts')).inspectAny,
  },
  {
    names: [['container', 'inspect']],
    usage: CONTAINERS.usage,
    summary: 'Display detailed information on one or more containers',
    flags: [FORMAT, flag('-s, --size', 'Display total file sizes')],
    words: { min: 1 },
    load: async () => (await import('./inspect.ts')).inspectContainers,
  },
  {
    names: [['image', 'inspect']],
    usage: '[OPTIONS] IMAGE [IMAGE...]',
    summary: 'Display detailed information on one or more images',
    flags: [FORMAT],
    words: { min: 1 },
    load: async () => (await import('./inspect.ts')).inspectImages,
  },
  onContainer('logs', {
    ...ONE_CONTAINER,
    summary: 'Fetch the logs of a container',
    flags: [
      flag('--details', 'Show extra details provided to logs'),
      flag('-f, --follow', 'Follow log output'),
      flag(
        '--since string',
        'Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
      ),
      flag('-n, --tail string', 'Number of lines to show from the end of the logs', { preset: '"all"' }),
      flag('-t, --timestamps', 'Show timestamps'),
      flag(
        '--until string',
        'Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
      ),
    ],
    load: async () => (await import('./logs.ts')).printLogs,
  }),
];

const images: readonly Command[] = [
  {
    names: [['images'], ['image', 'ls'], ['image', 'list']],
    usage: '[OPTIONS] [REPOSITORY[:TAG]]',
    summary: 'List images',
    flags: [
      flag('-a, --all', 'Show all images (default hides intermediate images)'),
      flag('--digests', 'Show digests'),
      FILTER,
      LIST_FORMAT,
      NO_TRUNC,
      flag('-q, --quiet', 'Only show image IDs'),
    ],
    words: { min: 0, max: 1 },
    load: async () => (await import('./images.ts')).listImages,
  },
  {
    names: [['pull'], ['image', 'pull']],
    usage: '[OPTIONS] NAME[:TAG|@DIGEST]',
    summary: 'Download an image from a registry',
    flags: [
      flag('--disable-content-trust', 'Skip image verification', { preset: 'true' }),
      flag('--platform string', 'Set platform if server is multi-platform capable'),
      flag('-q, --quiet', 'Suppress verbose output'),
    ],
    words: { min: 1, max: 1 },
    load: async () => (await import('./pull.ts')).pullImage,
  },
  {
    names: [['load'], ['image', 'load']],
    usage: '[OPTIONS]',
    summary: 'Load an image from a tar archive or STDIN',
    flags: [
      flag('-i, --input string', 'Read from tar archive file, instead of STDIN'),
      flag('-q, --quiet', 'Suppress the load output'),
    ],
    words: { min: 0, max: 0 },
    load: async () => (await import('./load.ts')).loadImages,
  },
  {
    names: [['rmi'], ['image', 'rm'], ['image', 'remove']],
    usage: '[OPTIONS] IMAGE [IMAGE...]',
    summary: 'Remove one or more images',
    flags: [flag('-f, --force', 'Force removal of the image'), flag('--no-prune', 'Do not delete untagged parents')],
    words: { min: 1 },
    load: verbs((of) => of.removeImages),
  },
];

const system: readonly Command[] = [
  {
    names: [['version']],
    usage: '[OPTIONS]',
    summary: 'Show the Berth version information',
    flags: [FORMAT],
    words: { min: 0, max: 0 },
    load: async () => (await import('./version.ts')).printVersion,
  },
  {
    names: [['info'], ['system', 'info']],
    usage: '[OPTIONS]',
    summary: 'Display system-wide information',
    flags: [FORMAT],
    words: { min: 0, max: 0 },
    load: async () => (await import('./info.ts')).printInfo,
  },
  {
    names: [['events'], ['system', 'events']],
    usage: '[OPTIONS]',
    summary: 'Get real time events from the server',
    flags: [
      FILTER,
      flag('--format string', "Format output using a custom template: 'json' or 'TEMPLATE' (Go template)"),
      flag('--since string', 'Show all events created since timestamp'),
      flag('--until string', 'Stream events until this timestamp'),
    ],
    words: { min: 0, max: 0 },
    load: async () => (await import('./events.ts')).printEvents,
  },
  {
    names: [['explain']],
    usage: '[OPTIONS] run [RUN OPTIONS] IMAGE [COMMAND] [ARG...]',
    summary: 'Show the plan of a container with reasons, without making it',
    flags: EXPLAIN_FLAGS,
    words: { min: 2 },
    stopAtWord: true,
    load: async () => (await import('./explain.ts')).explainRun,
  },
  {
    names: [['doctor']],
    usage: '[OPTIONS]',
    summary: 'Look at what this machine has and lacks, with the lines to change',
    flags: [flag('--json', 'Print JSON')],
    words: { min: 0, max: 0 },
    load: async () => (await import('./doctor.ts')).printDoctor,
  },
  {
    names: [['system', 'up']],
    usage: '',
    summary: 'Start helper, keeper and engine in the background; return when all answer',
    flags: [],
    words: { min: 0, max: 0 },
    load: async () => (await import('./system.ts')).systemUp,
  },
  {
    names: [['system', 'down']],
    usage: '',
    summary: 'Stop every container, the engine, the helper and its keeper',
    flags: [],
    words: { min: 0, max: 0 },
    load: async () => (await import('./system.ts')).systemDown,
  },
  {
    names: [['system', 'status']],
    usage: '[OPTIONS]',
    summary: 'Show what runs: processes, sockets, versions',
    flags: [flag('--json', 'Print JSON')],
    words: { min: 0, max: 0 },
    load: async () => (await import('./system.ts')).systemStatus,
  },
  {
    names: [['system', 'env']],
    usage: '',
    summary: 'Print DOCKER_HOST for `eval $(berth system env)`',
    flags: [],
    words: { min: 0, max: 0 },
    load: async () => (await import('./system.ts')).systemEnv,
  },
];

export const COMMANDS: readonly Command[] = [...making, ...life, ...reading, ...images, ...system, ...ADMIN_COMMANDS];

/** Flags before the command. */
export const GLOBALS: readonly Flag[] = [
  flag('-H, --host string', 'Socket of an engine to connect to (unix://PATH)'),
  flag('--state-dir string', 'Directory of an instance of its own; beside it BERTH_STATE_DIR'),
  flag('-v, --version', 'Print version information and quit'),
];
