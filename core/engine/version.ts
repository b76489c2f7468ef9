// The version of this build, and whom we say we are.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** `0.1.0`: set by the build; from package.json where the sources run as they are. */
export const VERSION: string = process.env['BERTH_BUILD_VERSION'] ?? versionOfSources();

function versionOfSources(): string {
  const path = fileURLToPath(new URL('../../package.json', import.meta.url));
  return String((JSON.parse(readFileSync(path, 'utf8')) as { version: unknown }).version);
}
