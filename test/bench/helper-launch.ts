// A launch by the helper alone: one signed request to launch, the event of its end, one to remove, as an engine sends them; and what each phase took.
import { closeSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Phases } from '../../proto/gen/berth/helper/v1/request.ts';
import { importTar, launchedOf, launchOf, startHelper } from '../kit/helper.ts';
import { busyboxTar } from '../kit/image.ts';

export type HelperLaunch = {
  /** Launches `true` with the default isolation, waits for its end, removes it; gives the phases of the launch in microseconds. */
  readonly life: () => Promise<Phases | undefined>;
  readonly close: () => Promise<void>;
};

/** A private helper with busybox imported. */
export async function openHelper(): Promise<HelperLaunch> {
  const scratch = mkdtempSync(join(tmpdir(), 'berth-bench-helper-'));
  const helper = await startHelper();
  const client = await helper.client();
  const layer = await importTar(client, busyboxTar(), scratch);
  await client.done({ $case: 'mergeImage', value: { layers: [layer] } }, { wantFds: true });
  return {
    async life() {
      const launch = launchOf([layer], ['/bin/true']);
      const answered = await client.done({ $case: 'launch', value: launch }, { wantFds: true });
      for (const fd of answered.fds) closeSync(fd);
      await client.exited(launch.id);
      await client.done({ $case: 'remove', value: { container: launch.id } });
      return launchedOf(answered).phases;
    },
    async close() {
      await helper[Symbol.asyncDispose]();
      rmSync(scratch, { recursive: true, force: true });
    },
  };
}
