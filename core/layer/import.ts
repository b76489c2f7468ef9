// Mode "import": a blob becomes an uncompressed tar and its index.
import { fsyncSync } from 'node:fs';
import { openTarIndex } from '../hot/tar.ts';
import { emptyResult, encodeLayerHeader, type WorkerResult } from '../spec/layer-index.ts';
import { decompress } from './decompress.ts';
import { FD, needEmptyFile, writeAll } from './descriptor.ts';
import { LayerFault } from './fault.ts';
import { layerTree } from './tree.ts';

/** Reads descriptor 3; writes the tar to 4 and its index to 5. Throws LayerFault or TarError; `maxBytes` 0 is no bound. */
export async function importLayer(maxBytes: number): Promise<WorkerResult> {
  needEmptyFile(FD.out, 'tar');
  needEmptyFile(FD.index, 'index');
  const index = openTarIndex();
  let tarBytes = 0;
  const bytesRead = await decompress((chunk) => {
    tarBytes += chunk.length;
    if (maxBytes > 0 && tarBytes > maxBytes)
      throw new LayerFault('limit', `the layer has more than the allowed ${maxBytes} bytes uncompressed`);
    index.write(chunk);
    writeAll(FD.out, chunk);
  });
  const table = index.end();
  layerTree(table, 0); // a layer that breaks a rule is refused now, not when it is used
  const header = encodeLayerHeader(table);
  for (const part of [header, table.records, table.pool]) writeAll(FD.index, part);
  fsyncSync(FD.out);
  fsyncSync(FD.index);
  const { entries, highestUid, highestGid, droppedXattrs } = table;
  const indexBytes = header.length + table.records.length + table.pool.length;
  return {
    ...emptyResult('import', 'ok'),
    entries,
    highestUid,
    highestGid,
    droppedXattrs,
    bytesRead,
    contentBytes: tarBytes,
    indexBytes,
    layers: 1,
  };
}
