// Paths inside a container, as text: nothing is looked up.

/** An absolute path without empty, `.` and `..` components, `..` stopping at the root; a relative text is taken from the root. */
export function cleanPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

/** Whether `path` is `parent` or lies beneath it; both clean. */
export function isWithin(path: string, parent: string): boolean {
  return path === parent || parent === '/' || path.startsWith(`${parent}/`);
}

/** How many components a clean path has: a parent always has fewer. */
export function depth(path: string): number {
  return path === '/' ? 0 : path.split('/').length - 1;
}
