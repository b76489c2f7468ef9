// `berth logs`.
import { type Given, isOn, textOf } from './command.ts';
import { makeDemux } from './demux.ts';
import type { Session } from './session.ts';
import { readWhen } from './when.ts';

/** Prints what a container has printed; with --follow until it ends. */
export async function printLogs(session: Session, given: Given): Promise<number> {
  const [name = ''] = given.args;
  const client = await session.client();
  const { Config } = await client.inspectContainer(name);
  const now = Date.now();
  const since = readWhen('since', textOf(given, 'since'), now);
  const until = readWhen('until', textOf(given, 'until'), now);
  const reply = await client.logs(name, {
    stdout: true,
    stderr: true,
    follow: isOn(given, 'follow'),
    timestamps: isOn(given, 'timestamps'),
    details: isOn(given, 'details'),
    since,
    until,
    tail: textOf(given, 'tail') ?? 'all',
  });
  const demux = Config.Tty ? (bytes: Buffer) => [{ stream: 1, bytes }] : makeDemux();
  for await (const arrived of reply.body) {
    for (const { stream, bytes } of demux(arrived)) {
      const to = stream === 2 ? session.stderr : session.stdout;
      if (!to.write(bytes)) await new Promise((resolve) => to.once('drain', resolve));
    }
  }
  return 0;
}
