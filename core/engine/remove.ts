// Removing a container: first what the helper has, then our files, then the record, so that whatever is left by a kill can be removed again.
import { rmSync } from 'node:fs';
import { isStateRefusal } from '../link/refusal.ts';
import { removeContainer } from '../store/containers.ts';
import type { Container } from './container.ts';
import { type Context, emit } from './context.ts';
import type { ExitResult } from './engine.ts';
import { discardLog } from './log.ts';
import { logDir } from './output.ts';

/** Removes one that does not run; nothing happens when it is gone already. */
export async function removeNow(context: Context, container: Container, exit: ExitResult): Promise<void> {
  const { record } = container;
  if (context.containers.get(record.id) !== container) return;
  container.removing = true;
  clearTimeout(container.restartTimer);
  container.restartTimer = undefined;
  await forgetAtHelper(context, container);
  await container.flow?.done;
  if (container.log !== undefined) discardLog(container.log);
  else rmSync(logDir(context, record.id), { recursive: true, force: true });
  context.unsaved.delete(container);
  removeContainer(context.store, record.id);
  context.containers.delete(record.id);
  emit(context, container, { action: 'destroy' });
  for (const tell of container.removeWaiters) tell(exit);
  container.removeWaiters.clear();
}

/** One that never started, or that an earlier try removed, is unknown there: that is what was wanted. */
async function forgetAtHelper(context: Context, container: Container): Promise<void> {
  if (!container.record.ranBefore) return;
  try {
    await context.link.send({ $case: 'remove', value: { container: container.record.id } });
  } catch (error) {
    if (!isStateRefusal(error)) throw error;
  }
}
