// `berth doctor`: what the engine found on this machine.
import { complain } from './failure.ts';
import { makeClient } from '../client/client.ts';
import { type Given, isOn } from './command.ts';
import type { Session } from './session.ts';

const MARK = { ok: ' ok ', note: 'note', bad: 'BAD ' } as const;

/** Prints a line for each finding, and the line that changes it; the exit code is 1 when something is bad. */
export async function printDoctor(session: Session, given: Given): Promise<number> {
  const { ensureEngine } = await import('./ensure.ts');
  const why = session.place().foreign ? undefined : await ensureEngine(session);
  // Without a helper there is an engine all the same; the session's client would try to start a helper once more.
  const client = why === undefined ? await session.client() : makeClient(session.place().socket);
  const findings = await client.doctor();
  if (why !== undefined) complain(session, why);
  if (isOn(given, 'json')) session.stdout.write(`${JSON.stringify(findings, undefined, 2)}\n`);
  else {
    const width = Math.max(0, ...findings.map((one) => one.topic.length));
    for (const { topic, level, found, fix } of findings) {
      session.stdout.write(
        `[${MARK[level]}] ${topic.padEnd(width)}  ${found}\n${fix === undefined ? '' : `${' '.repeat(width + 9)}change: ${fix}\n`}`,
      );
    }
  }
  return findings.some((one) => one.level === 'bad') ? 1 : 0;
}
