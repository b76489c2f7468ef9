// Prints the progress of pull and load: on a terminal a line per layer with a bar, redrawn in place; elsewhere a line for each change of status.
// Source: moby pkg/jsonmessage/jsonmessage.go.
import type { ProgressLine } from '../spec/docker-api.ts';
import { decimalSize } from '../spec/units.ts';
import { CliError } from './error.ts';

const CLEAR_LINE = '\x1b[2K\r';

/** Prints every line; gives back when the stream ends. Throws CliError with what the stream says went wrong. */
export async function printProgress(lines: AsyncIterable<ProgressLine>, to: NodeJS.WriteStream): Promise<void> {
  const rows = new Map<string, number>();
  const told = new Map<string, string>();
  for await (const line of lines) {
    if (line.error !== undefined) throw new CliError(line.error);
    if (line.stream !== undefined) to.write(line.stream);
    else if (to.isTTY) to.write(drawn(line, rows, to.columns || 80));
    else if (isNews(line, told)) to.write(`${line.id === undefined ? '' : `${line.id}: `}${line.status ?? ''}\n`);
  }
}

/** Without a terminal a bar that grows is no news; a new status is. */
function isNews(line: ProgressLine, told: Map<string, string>): boolean {
  const isGrowing = (line.progressDetail?.current ?? 0) > 0 || (line.progress ?? '') !== '';
  if (isGrowing || line.status === undefined) return false;
  if (line.id !== undefined && told.get(line.id) === line.status) return false;
  if (line.id !== undefined) told.set(line.id, line.status);
  return true;
}

function drawn(line: ProgressLine, rows: Map<string, number>, width: number): string {
  const text = `${line.id === undefined ? '' : `${line.id}: `}${line.status ?? ''} ${barOf(line, width)}`.trimEnd();
  if (line.id === undefined || line.progressDetail === undefined) {
    // A line of its own ends what can be redrawn above it.
    rows.clear();
    return `${text}\n`;
  }
  const row = rows.get(line.id);
  if (row === undefined) {
    rows.set(line.id, rows.size);
    return `${CLEAR_LINE}${text}\n`;
  }
  const up = rows.size - row;
  return `\x1b[${up}A${CLEAR_LINE}${text}\x1b[${up}B\r`;
}

/** `[=====>     ]  12.3MB/45.6MB`. */
export function barOf(line: ProgressLine, width: number): string {
  const { current = 0, total = 0 } = line.progressDetail ?? {};
  if (current <= 0 && total <= 0) return line.progress ?? '';
  const size = decimalSize(current).padStart(8);
  if (total <= 0 || current > total) return size;
  const cells = width > 110 ? 50 : 25;
  const filled = Math.min(cells, Math.trunc((current / total) * cells));
  const bar = width < 60 ? '' : `[${'='.repeat(filled)}>${' '.repeat(cells - filled)}] `;
  return `${bar}${size}/${decimalSize(total)}`;
}
