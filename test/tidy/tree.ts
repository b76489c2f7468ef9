// What the tidy suites share: the project's files, the import table of ARCHITECTURE.md, and who imports what.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';

export const root = new URL('../..', import.meta.url).pathname;

/** Tracked and new files (paths from the root) whose name ends in `ending`, beneath the given folders. */
export function files(ending: string, ...folders: string[]): string[] {
  const out = execFileSync(
    'git',
    ['-c', `safe.directory=${root.replace(/\/$/, '')}`, 'ls-files', '-co', '--exclude-standard', '--', ...folders],
    { cwd: root, encoding: 'utf8' },
  );
  return [...new Set(out.split('\n'))].filter((file) => file.endsWith(ending) && existsSync(join(root, file))).sort();
}

export function text(file: string): string {
  return readFileSync(join(root, file), 'utf8');
}

/** The folders of the import table and what each may import. Source: ARCHITECTURE.md, "Folders and who may import whom". */
export function importTable(): Map<string, string[]> {
  const rows = [...text('ARCHITECTURE.md').matchAll(/^\| `((?:core|helper|proto)\/[a-z]+)` \| [^|]* \|([^|]*)\|$/gm)];
  return new Map(
    rows.map(([, folder = '', allowed = '']) => [
      folder,
      [...allowed.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name),
    ]),
  );
}

export type Import = {
  readonly from: string;
  readonly specifier: string;
  readonly target: string | undefined;
  readonly typeOnly: boolean;
};

/** Every static and dynamic import of a file; `target` is the path from the root for relative ones. */
export function imports(file: string): Import[] {
  const source = text(file).replace(/\/\*[\s\S]*?\*\//g, '');
  const found = [
    ...source.matchAll(/^\s*(?:import|export)\s+(type\s)?[^'"`;]*?from\s+'([^']+)'/gm),
    ...source.matchAll(/^\s*import()\s+'([^']+)'/gm),
    ...source.matchAll(/\bimport()\('([^']+)'\)/g),
  ];
  return found.map(([, type, specifier = '']) => ({
    from: file,
    specifier,
    target: specifier.startsWith('.') ? normalize(relative(root, join(root, dirname(file), specifier))) : undefined,
    typeOnly: Boolean(type),
  }));
}

/** The folder of the import table that a file lies in. */
export function folderOf(file: string): string {
  return file.split('/').slice(0, 2).join('/');
}

/** All files reachable by run-time imports from an entry, the entry included. */
export function reachable(entry: string): string[] {
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file) || !existsSync(join(root, file))) return;
    seen.add(file);
    for (const found of imports(file)) if (found.target && !found.typeOnly) visit(found.target);
  };
  visit(entry);
  return [...seen].sort();
}
