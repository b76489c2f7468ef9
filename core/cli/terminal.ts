// The user's terminal: raw while a container has it, restored however the command ends.
import type { Session } from './session.ts';

/** Ends that Node would not clean up after by itself: raw mode survives the process. */
const ENDS = ['SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGINT'] as const;

/** Makes standard input raw; gives what restores it, which may be called more than once. Does nothing when it is no terminal. */
export function makeRaw(session: Session): () => void {
  const { stdin } = session;
  if (!stdin.isTTY) return () => undefined;
  setRaw(session);
  let raw = true;
  const restore = (): void => {
    if (!raw) return;
    raw = false;
    stdin.setRawMode(false);
    process.off('exit', restore);
    process.off('SIGCONT', again);
    for (const signal of ENDS) process.off(signal, end);
  };
  // A shell that stopped and resumed us has put its own mode back; Node thinks that it is raw still.
  const again = (): void => {
    stdin.setRawMode(false);
    setRaw(session);
  };
  const end = (signal: NodeJS.Signals): void => {
    // With signals proxied to the container another listener decides; alone, this one does what would have happened.
    if (process.listenerCount(signal) > 1) return;
    restore();
    process.kill(process.pid, signal);
  };
  process.on('exit', restore);
  process.on('SIGCONT', again);
  for (const signal of ENDS) process.on(signal, end);
  return restore;
}

/** Node's raw mode leaves output processing on: a bare line feed, which full-screen programs use to go down, would also return to the left. */
function setRaw(session: Session): void {
  session.stdin.setRawMode(true);
  // Not imported above: it takes two milliseconds to load, and most commands have no terminal to change.
  const { spawnSync } = process.getBuiltinModule('node:child_process');
  spawnSync('stty', ['-opost'], { stdio: ['inherit', 'ignore', 'ignore'] });
}

/** Rows and columns of the terminal that output goes to; undefined when it is none. */
export function windowSize(session: Session): { h: number; w: number } | undefined {
  const { stdout } = session;
  if (!stdout.isTTY || !stdout.rows) return undefined;
  return { h: stdout.rows, w: stdout.columns };
}

/** Tells the size now and at each change; gives what ends it. */
export function followWindow(session: Session, tell: (size: { h: number; w: number }) => Promise<void>): () => void {
  const send = (): void => {
    const size = windowSize(session);
    // A resize that comes after the end of the process is nobody's failure.
    if (size !== undefined) tell(size).catch(() => undefined);
  };
  send();
  session.stdout.on('resize', send);
  return () => session.stdout.off('resize', send);
}
