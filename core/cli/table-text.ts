// Columns that line up, as Go's text/tabwriter makes them with a minimum width of 10 and a padding of 3 spaces, the way docker/cli uses it.

/** Lines whose cells are separated by tabs, to text with every line ended. The last cell of a line is not padded. */
export function alignColumns(lines: readonly string[]): string {
  const rows = lines.map((line) => line.split('\t'));
  const widths: number[] = [];
  for (const cells of rows) {
    cells.slice(0, -1).forEach((cell, at) => {
      widths[at] = Math.max(widths[at] ?? 0, displayWidth(cell) + 3, 10);
    });
  }
  return rows
    .map(
      (cells) =>
        `${cells.map((cell, at) => (at === cells.length - 1 ? cell : padTo(cell, widths[at] ?? 0))).join('')}\n`,
    )
    .join('');
}

function padTo(cell: string, width: number): string {
  return cell + ' '.repeat(Math.max(0, width - displayWidth(cell)));
}

/** Go counts code points. */
function displayWidth(text: string): number {
  return [...text].length;
}
