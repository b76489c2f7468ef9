// `berth exec`: another program in a running container.
import type { ExecAsk } from '../client/client.ts';
import { ApiError } from '../client/error.ts';
import { type Given, isOn, listOf, textOf } from './command.ts';
import { startCode } from './create.ts';
import { readEnvFile, resolveEnv } from './env-file.ts';
import { CliError } from './error.ts';
import { daemonText } from './failure.ts';
import type { Session } from './session.ts';
import { joinStreams } from './stream.ts';
import { followWindow, windowSize } from './terminal.ts';
import { keysOf } from './watch.ts';

/** The exit code is the program's; 126 and 127 when it could not be started. */
export async function execInContainer(session: Session, given: Given): Promise<number> {
  const [name = '', ...command] = given.args;
  const detached = isOn(given, 'detach');
  const tty = isOn(given, 'tty');
  const stdin = isOn(given, 'interactive') && !detached;
  if (stdin && tty && !session.stdin.isTTY) throw new CliError('the input device is not a TTY');
  const detachKeys = keysOf(session, textOf(given, 'detach-keys'));
  const client = await session.client();
  const body: ExecAsk = {
    Cmd: command,
    Tty: tty,
    AttachStdin: stdin,
    AttachStdout: !detached,
    AttachStderr: !detached,
    Env: [
      ...listOf(given, 'env-file').flatMap((path) => readEnvFile(path, session.env)),
      ...resolveEnv(listOf(given, 'env'), session.env),
    ],
    User: textOf(given, 'user') ?? '',
    WorkingDir: textOf(given, 'workdir') ?? '',
    Privileged: isOn(given, 'privileged'),
    DetachKeys: detachKeys,
  };
  const { Id: id } = await client.createExec(name, body);
  try {
    if (detached) {
      await client.startExecDetached(id, tty);
      return 0;
    }
    const size = tty ? windowSize(session) : undefined;
    const started = await client.startExec(id, {
      Tty: tty,
      ...(size === undefined ? {} : { ConsoleSize: [size.h, size.w] }),
    });
    const unfollow = tty ? followWindow(session, (window) => client.resizeExec(id, window)) : () => undefined;
    const end = await joinStreams(session, { socket: started.socket, tty, stdin, detachKeys }).finally(unfollow);
    if (end === 'detached') throw new CliError('read escape sequence');
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const code = startCode(error);
    throw new CliError(daemonText(error), code === 125 ? 1 : code);
  }
  return (await client.inspectExec(id)).ExitCode ?? 0;
}
