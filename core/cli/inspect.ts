// `berth inspect`. Source: docker/cli 28.2, cli/command/inspect/inspector.go.
import { BerthError } from '../base/errors.ts';
import type { Client } from '../client/client.ts';
import { printableJson } from '../base/printable.ts';
import { ApiError } from '../client/error.ts';
import { type Given, isOn, textOf } from './command.ts';
import { CliError } from './error.ts';
import { complain, daemonText } from './failure.ts';
import { leftOut } from './go-value.ts';
import type { Session } from './session.ts';
import { readTemplate, runTemplate } from './template.ts';
import { goJson } from './template-funcs.ts';
import { type Template, TemplateError } from './template-parse.ts';

type Kind = 'container' | 'image';
type Find = (client: Client, name: string) => Promise<unknown>;

const TYPES = 'config container image network node plugin secret service task volume'.split(' ');

/** `berth inspect`: whatever has the name, containers first. */
export async function inspectAny(session: Session, given: Given): Promise<number> {
  const type = textOf(given, 'type') ?? '';
  const all = `must be one of "${TYPES.join('", "')}"`;
  if (given.flags.has('type') && type === '') throw new CliError(`type is empty: ${all}`);
  if (type !== '' && !TYPES.includes(type)) throw new CliError(`unknown type: ${JSON.stringify(type)}: ${all}`);
  if (!['', 'container', 'image'].includes(type))
    throw new CliError(`--type ${type}: there are only containers and images yet`);
  const kinds: readonly Kind[] = type === '' ? ['container', 'image'] : [type as Kind];
  return inspectEach(session, given, async (client, name) => {
    for (const kind of kinds) {
      const found = await finders(given)
        [kind](client, name)
        .catch((error: unknown) => {
          if (type === '' && error instanceof ApiError && error.status === 404) return undefined;
          throw error;
        });
      if (found !== undefined) return found;
    }
    throw new CliError(`Error: No such object: ${name}`);
  });
}

/** `berth container inspect`. */
export async function inspectContainers(session: Session, given: Given): Promise<number> {
  return inspectEach(session, given, finders(given).container);
}

/** `berth image inspect`. */
export async function inspectImages(session: Session, given: Given): Promise<number> {
  return inspectEach(session, given, finders(given).image);
}

function finders(given: Given): Record<Kind, Find> {
  return {
    container: (client, name) => client.inspectContainer(name, { size: isOn(given, 'size') }),
    image: (client, name) => client.inspectImage(name),
  };
}

/** Prints what was found, then tells of what was not: one missing name does not hide the others. */
async function inspectEach(session: Session, given: Given, find: Find): Promise<number> {
  const format = textOf(given, 'format') ?? '';
  const template = format === '' || format === 'json' ? undefined : parse(format);
  const client = await session.client();
  const found: unknown[] = [];
  const problems: string[] = [];
  for (const name of given.args) {
    try {
      const value = await find(client, name);
      found.push(template === undefined ? value : render(template, value));
    } catch (error) {
      problems.push(problemText(error));
    }
  }
  session.stdout.write(`${template === undefined ? jsonText(found, format) : found.join('\n')}\n`);
  if (problems.length > 0) complain(session, problems.join('\n'));
  return problems.length > 0 ? 1 : 0;
}

function problemText(error: unknown): string {
  if (error instanceof CliError) return error.message;
  if (error instanceof ApiError) return daemonText(error);
  if (error instanceof BerthError) return error.message;
  throw error;
}

function jsonText(found: readonly unknown[], format: string): string {
  return format === 'json' ? goJson(found) : indented(found);
}

/** JSON with four spaces. Unlike `json`, it is not escaped for HTML. Empty lists and objects stand as `[]` and `{}`, as JSON.stringify has them. */
function indented(value: unknown): string {
  return printableJson(JSON.stringify(value, undefined, 4));
}

function parse(format: string): Template {
  try {
    return readTemplate(format);
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    throw new CliError(`template parsing error: ${error.message}`, 64);
  }
}

function render(template: Template, value: unknown): string {
  try {
    return runTemplate(template, value, (name, fail) => {
      const empty = leftOut(name);
      return empty === undefined ? fail(`map has no entry for key ${JSON.stringify(name)}`) : empty;
    });
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    throw new CliError(`template parsing error: ${error.message}`);
  }
}
