// Signals that come to the command go on to the container. Source: docker/cli 28.2, cli/command/container/signals.go.
import type { Session } from './session.ts';

/** Not CHLD, PIPE and URG, which are about this process, nor what cannot be caught. */
const FORWARDED = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGTERM',
  'SIGUSR1',
  'SIGUSR2',
  'SIGALRM',
  'SIGTSTP',
  'SIGTTIN',
  'SIGTTOU',
] as const;

/** Hands each signal to `send`; the third INT or TERM ends the command, for a container that does not react. Gives what ends the forwarding. */
export function forwardSignals(session: Session, send: (signal: string) => Promise<void>): () => void {
  let endings = 0;
  const on = (signal: NodeJS.Signals): void => {
    send(signal).catch(() => undefined);
    if (signal !== 'SIGINT' && signal !== 'SIGTERM') return;
    endings += 1;
    if (endings < 3) return;
    session.stderr.write('\ngot 3 SIGTERM/SIGINTs, forcefully exiting\n');
    process.exit(1);
  };
  for (const signal of FORWARDED) process.on(signal, on);
  return () => {
    for (const signal of FORWARDED) process.off(signal, on);
  };
}
