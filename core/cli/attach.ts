// `berth attach`: the streams of a container that runs already.
import { type Given, isOn, textOf } from './command.ts';
import { CliError } from './error.ts';
import type { Session } from './session.ts';
import { forwardSignals } from './signals.ts';
import { joinStreams } from './stream.ts';
import { followWindow, windowSize } from './terminal.ts';
import { exitCodeOf, keysOf } from './watch.ts';

/** The exit code is the container's; leaving by the detach keys is an end with 1, as in Docker. */
export async function attachContainer(session: Session, given: Given): Promise<number> {
  const [name = ''] = given.args;
  const client = await session.client();
  const found = await client.inspectContainer(name);
  const { Running, Paused, Restarting } = found.State;
  if (!Running) throw new CliError('You cannot attach to a stopped container, start it first');
  if (Paused) throw new CliError('You cannot attach to a paused container, unpause it first');
  if (Restarting) throw new CliError('You cannot attach to a restarting container, wait until it is running');
  const tty = found.Config.Tty;
  const stdin = !isOn(given, 'no-stdin') && found.Config.OpenStdin;
  if (stdin && tty && !session.stdin.isTTY) throw new CliError('the input device is not a TTY');
  const detachKeys = keysOf(session, textOf(given, 'detach-keys'));
  const waiting = await client.waitContainer(found.Id, '');
  const attached = await client.attach(found.Id, { stream: true, stdin, stdout: true, stderr: true, detachKeys });
  const sigProxy = !given.flags.has('sig-proxy') || isOn(given, 'sig-proxy');
  const stops = sigProxy && !tty ? [forwardSignals(session, (signal) => client.killContainer(found.Id, signal))] : [];
  try {
    if (tty) {
      // A size that differs for a moment makes full-screen programs draw themselves anew.
      const size = windowSize(session);
      if (size !== undefined)
        await client.resizeContainer(found.Id, { h: size.h + 1, w: size.w }).catch(() => undefined);
      stops.push(followWindow(session, (window) => client.resizeContainer(found.Id, window)));
    }
    const end = await joinStreams(session, { socket: attached.socket, tty, stdin, detachKeys });
    if (end === 'detached') throw new CliError('read escape sequence');
    return await exitCodeOf(waiting.exit);
  } finally {
    for (const stop of stops) stop();
  }
}
