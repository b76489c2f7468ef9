// `berth pull`, and the pull that `run` does for a missing image.
import type { Client } from '../client/client.ts';
import type { ProgressLine } from '../spec/docker-api.ts';
import { type Given, isOn, textOf } from './command.ts';
import { readConfig, registryAuth } from './config.ts';
import { CliError } from './error.ts';
import { fullName, registryOf, splitName } from './image-name.ts';
import { printProgress } from './progress.ts';
import type { Session } from './session.ts';

/** Prints the progress, then the whole name of the image. */
export async function pullImage(session: Session, given: Given): Promise<number> {
  const [image = ''] = given.args;
  const quiet = isOn(given, 'quiet');
  if (!quiet && !/[:@][^/]*$/.test(image)) session.stdout.write('Using default tag: latest\n');
  await pullQuietlyOrNot(session, {
    client: await session.client(),
    image,
    quiet,
    to: session.stdout,
    platform: textOf(given, 'platform'),
  });
  session.stdout.write(`${fullName(image)}\n`);
  return 0;
}

export type Pull = {
  readonly client: Client;
  readonly image: string;
  readonly quiet: boolean;
  readonly to: NodeJS.WriteStream;
  readonly platform: string | undefined;
};

/** Pulls with the user's login for that registry. Throws CliError when the stream ends in an error. */
export async function pullQuietlyOrNot(session: Session, pull: Pull): Promise<void> {
  const { fromImage, tag } = splitName(pull.image);
  const auth = registryAuth(readConfig(session.env), registryOf(fromImage));
  const lines = await pull.client.pull({ fromImage, tag, platform: pull.platform }, auth);
  if (pull.quiet) await drain(lines);
  else await printProgress(lines, pull.to);
}

async function drain(lines: AsyncIterable<ProgressLine>): Promise<void> {
  for await (const line of lines) if (line.error !== undefined) throw new CliError(line.error);
}
