// Whether images can be mounted with their tars as devices, found by mounting a tiny one.
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildWasm, imageOf } from './layers.ts';
import type { Need } from './need.ts';
import { tarOf } from './tar.ts';
import { mountedFacts } from './tree-facts.ts';

/** EROFS from files in this directory, which root can mount. */
export function erofsFrom(scratch: string): Need {
  return {
    reason: `needs EROFS mounted from files (Linux 6.12 or later, and ${scratch} not on an overlay)`,
    met: () => {
      const dir = mkdtempSync(join(scratch, 'probe-'));
      buildWasm();
      const tar = tarOf([]);
      writeFileSync(join(dir, 'tar'), tar);
      writeFileSync(join(dir, 'image'), imageOf([tar]).erofs);
      mkdirSync(join(dir, 'on'));
      return (
        typeof mountedFacts(join(dir, 'on'), [{ image: join(dir, 'image'), tars: [join(dir, 'tar')] }])[0] !== 'string'
      );
    },
  };
}
