// A process that fills a store until it is killed, and says after each step what must be there then.
import type { ContainerId } from '../../../core/base/brand.ts';
import { removeContainer, saveContainer } from '../../../core/store/containers.ts';
import { openStore } from '../../../core/store/open.ts';

const store = openStore(process.argv[2] ?? '');
for (let i = 1; ; i++) {
  const id = i.toString(16).padStart(64, '0') as ContainerId;
  saveContainer(store, { id, name: `c${i}`, document: { step: i, filler: 'x'.repeat(i % 5000) } });
  if (i % 3 === 0) removeContainer(store, (i - 1).toString(16).padStart(64, '0') as ContainerId);
  process.stdout.write(`${i}\n`);
}
