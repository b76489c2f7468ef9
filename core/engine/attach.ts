// Attaching to a container: its output from the log, so that all clients see the same and a slow one holds nobody up, and its input.
import { BerthError } from '../base/errors.ts';
import { type Container, statusOf } from './container.ts';
import { type Context, emit } from './context.ts';
import type { Attachment, AttachQuery } from './engine.ts';
import { containerInput } from './input.ts';
import { endOf } from './log.ts';
import { readLog } from './log-read.ts';
import { logOf } from './output.ts';

/** One that does not run may be attached to: what it prints once it starts will come. Throws conflict for a paused or removed one. */
export function attach(context: Context, container: Container, query: AttachQuery): Attachment {
  const { id, body } = container.record;
  const status = statusOf(container);
  if (status === 'paused')
    throw new BerthError('conflict', `container ${id} is paused, unpause the container before attach`);
  if (status === 'restarting')
    throw new BerthError('conflict', `container ${id} is restarting, wait until the container is running`);
  if (status === 'removing') throw new BerthError('conflict', `container ${id} is being removed`);
  const log = logOf(context, container);
  const both = body.Tty && (query.stdout || query.stderr);
  const output = readLog(
    log,
    {
      stdout: both || query.stdout,
      stderr: both || query.stderr,
      timestamps: false,
      sinceNs: undefined,
      untilNs: undefined,
      tail: undefined,
      follow: query.stream ? log.run : undefined,
    },
    query.logs ? undefined : endOf(log),
  );
  emit(context, container, { action: 'attach' });
  return {
    tty: body.Tty,
    output,
    input: query.stdin && body.OpenStdin ? containerInput(container) : undefined,
    close: () => void output.return?.(),
  };
}
