// Commands that do one thing to each of the names given: one failure does not stop the rest. Source: docker/cli 28.2, cli/command/container.
import type { Client } from '../client/client.ts';
import { ApiError } from '../client/error.ts';
import { type Given, type Handler, isOn, textOf } from './command.ts';
import { wholeOf } from './container-body.ts';
import { CliError } from './error.ts';
import { complain, daemonText } from './failure.ts';
import type { Session } from './session.ts';

type Verb = (client: Client, given: Given, name: string) => Promise<string>;

/** A command that runs `verb` on each name, at once, and prints what it gives in the order of the names. */
export function onEach(verb: Verb): Handler {
  return async (session, given) => {
    const client = await session.client();
    const done = await Promise.allSettled(given.args.map((name) => verb(client, given, name)));
    const failures: unknown[] = [];
    for (const one of done) {
      if (one.status === 'fulfilled') session.stdout.write(`${one.value}\n`);
      else failures.push(one.reason);
    }
    return tellFailures(session, failures);
  };
}

/** A refusal that is told but leaves the exit code at 0. */
class Harmless extends Error {
  readonly told: ApiError;
  constructor(told: ApiError) {
    super(told.message);
    this.told = told;
  }
}

/** Prints what went wrong, a line each, and gives 1 if anything did. What the server did not say is thrown on. */
export function tellFailures(session: Session, failures: readonly unknown[]): number {
  for (const failure of failures) {
    const said = failure instanceof Harmless ? failure.told : failure;
    if (!(said instanceof ApiError)) throw said;
    complain(session, daemonText(said));
  }
  return failures.some((failure) => !(failure instanceof Harmless)) ? 1 : 0;
}

/** A verb that prints the name it was given. */
function named(act: (client: Client, given: Given, name: string) => Promise<void>): Handler {
  return onEach(async (client, given, name) => {
    await act(client, given, name);
    return name;
  });
}

function stopping(given: Given): { t: number | undefined; signal: string | undefined } {
  return { t: wholeOf(given, 'timeout') ?? wholeOf(given, 'time'), signal: textOf(given, 'signal') };
}

export const stop: Handler = named((client, given, name) => client.stopContainer(name, stopping(given)));
/** One after the other: a later one may join the namespaces of an earlier one. */
export const restart: Handler = async (session, given) => {
  const client = await session.client();
  const failures: unknown[] = [];
  for (const name of given.args) {
    try {
      await client.restartContainer(name, stopping(given));
      session.stdout.write(`${name}\n`);
    } catch (error) {
      failures.push(error);
    }
  }
  return tellFailures(session, failures);
};
export const kill: Handler = named((client, given, name) => client.killContainer(name, textOf(given, 'signal')));
export const pause: Handler = named((client, _given, name) => client.pauseContainer(name));
export const unpause: Handler = named((client, _given, name) => client.unpauseContainer(name));
export const remove: Handler = onEach(async (client, given, name) => {
  const query = { v: isOn(given, 'volumes'), force: isOn(given, 'force'), link: isOn(given, 'link') };
  await client.removeContainer(name.replace(/^\//, ''), query).catch((error: unknown) => {
    // With --force a container that is not there is told, but is no failure: what was wanted is so.
    throw query.force && error instanceof ApiError && error.status === 404 ? new Harmless(error) : error;
  });
  return name;
});

/** Prints the exit code of each. */
export const wait: Handler = onEach(async (client, _given, name) => {
  const { exit } = await client.waitContainer(name, '');
  const { StatusCode, Error: failure } = await exit;
  if (failure !== undefined && failure !== null) throw new ApiError(500, failure.Message, undefined);
  return String(StatusCode);
});

/** `berth rename OLD NEW`. */
export const rename: Handler = async (session, given) => {
  const [old = '', name = ''] = given.args.map((word) => word.trim());
  if (old === '' || name === '') throw new CliError('Error: Neither old nor new names may be empty');
  try {
    await (await session.client()).renameContainer(old, name);
    return 0;
  } catch (error) {
    tellFailures(session, [error]);
    throw new CliError(`Error: failed to rename container named ${old}`);
  }
};

/** `berth rmi`: prints what was untagged and deleted. */
export const removeImages: Handler = async (session, given) => {
  const client = await session.client();
  const failures: unknown[] = [];
  for (const name of given.args) {
    try {
      const query = { force: isOn(given, 'force'), noprune: isOn(given, 'no-prune') };
      for (const line of await client.removeImage(name, query)) {
        session.stdout.write(
          line.Deleted === undefined ? `Untagged: ${line.Untagged}\n` : `Deleted: ${line.Deleted}\n`,
        );
      }
    } catch (error) {
      failures.push(error);
    }
  }
  return tellFailures(session, failures);
};
