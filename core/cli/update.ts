// `berth update`: changes the limits of containers that exist.
import { complain } from './failure.ts';
import type { Given } from './command.ts';
import { resourcesOf, restartOf } from './container-body.ts';
import type { Session } from './session.ts';
import { tellFailures } from './verbs.ts';

/** Prints each name whose limits were changed, and the server's warnings. */
export async function updateContainers(session: Session, given: Given): Promise<number> {
  const client = await session.client();
  const body = { ...resourcesOf(given), ...(given.flags.has('restart') ? { RestartPolicy: restartOf(given) } : {}) };
  const failures: unknown[] = [];
  const warnings: string[] = [];
  for (const name of given.args) {
    try {
      const { Warnings } = await client.updateContainer(name, body);
      session.stdout.write(`${name}\n`);
      warnings.push(...(Warnings ?? []));
    } catch (error) {
      failures.push(error);
    }
  }
  if (warnings.length > 0) complain(session, warnings.join('\n'));
  return tellFailures(session, failures);
}
