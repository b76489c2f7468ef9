// `--filter key=value`, several of them, to the query's JSON. Source: docker/cli 28.2, opts/opts.go, FilterOpt.

/** The text of the `filters` parameter; undefined without filters. The parser has seen to it that each has a `=`. */
export function readFilters(words: readonly string[]): string | undefined {
  const filters: Record<string, string[]> = {};
  for (const word of words) {
    if (word === '') continue;
    const equals = word.indexOf('=');
    const key = word.slice(0, equals).trim().toLowerCase();
    filters[key] = [...(filters[key] ?? []), word.slice(equals + 1).trim()];
  }
  return Object.keys(filters).length === 0 ? undefined : JSON.stringify(filters);
}
