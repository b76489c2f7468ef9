// `--format` of lists: table, table with a template, json, raw template. Source: docker/cli 28.2, cli/command/formatter.
import { CliError } from './error.ts';
import { alignColumns } from './table-text.ts';
import { readTemplate, runTemplate } from './template.ts';
import { goJson } from './template-funcs.ts';
import { type Template, TemplateError } from './template-parse.ts';

/** One row: each placeholder's value, or a function that computes it from its arguments (`.Label "k"`). */
export type Row = Readonly<Record<string, unknown>>;

export type Listing = {
  readonly format: string;
  /** The template of `table`. */
  readonly table: string;
  /** The header of each placeholder. */
  readonly headers: Row;
  readonly rows: readonly Row[];
  /** The name of Go's type, for the sentence about an unknown placeholder, and how that sentence begins when reading and when running fails. */
  readonly goType: string;
  readonly blame: { readonly parse: string; readonly run: string };
};

/** The text of a list. Throws CliError with Docker's sentence where the template is wrong. */
export function formatList(listing: Listing): string {
  const text = listing.format.replaceAll('\\t', '\t').replaceAll('\\n', '\n');
  const isTable = text.startsWith('table');
  const source = isTable ? text.slice('table'.length).trim() || listing.table : text === 'json' ? '{{json .}}' : text;
  const template = parse(source, listing);
  // A placeholder that does not exist is told even when there is nothing to list.
  render(template, listing.headers, listing);
  const lines = listing.rows.map((row) => render(template, row, listing));
  if (!isTable) return lines.map((line) => `${line}\n`).join('');
  // Rows are rendered by a header's function too: {{join .Labels ","}} has a header, though not a pretty one.
  const header = render(template, listing.headers, listing).replace(/\{\{.*?\}\}/g, '');
  return alignColumns([header, ...lines]);
}

function parse(source: string, listing: Listing): Template {
  try {
    return readTemplate(source);
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    throw new CliError(`${listing.blame.parse}: ${error.message}`);
  }
}

function render(template: Template, row: Row, listing: Listing): string {
  try {
    return runTemplate(template, row, (name, fail) => fail(`can't evaluate field ${name} in type ${listing.goType}`));
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    throw new CliError(`${listing.blame.run}: ${error.message}`);
  }
}

/** A row as an object for `json`: what takes arguments is left out, names in order, as Go prints a map. */
export function withJson(row: Row): Row {
  const plain = Object.fromEntries(
    Object.entries(row)
      .filter(([, value]) => typeof value !== 'function')
      .sort(([left], [right]) => (left < right ? -1 : 1)),
  );
  return Object.defineProperty({ ...row }, 'toJSON', { value: () => plain, enumerable: false });
}

/** One value by `--format`: json, or a template. `what` begins the sentence when the template is wrong. */
export function formatValue(value: unknown, format: string, how: { what: string; goType: string }): string {
  if (format === 'json') return goJson(value);
  try {
    return runTemplate(readTemplate(format), value, (name, fail) =>
      fail(`can't evaluate field ${name} in type ${how.goType}`),
    );
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    throw new CliError(`${how.what}${error.message}`);
  }
}
