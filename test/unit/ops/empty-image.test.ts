// The image that the helper tries the kernel with is what the layer worker makes of one empty layer. `vitest -u` writes the file anew.
import { expect, test } from 'vitest';
import { buildErofs } from '../../../core/layer/erofs.ts';
import { listInodes, mergeLayers } from '../../../core/layer/merge.ts';
import { decodeLayerIndex, encodeLayerHeader } from '../../../core/spec/layer-index.ts';
import * as empty from '../../../helper/ops/empty-image.gen.ts';

const TAR_BYTES = 1024;
const HEADER = `// An EROFS image with no entries over one empty tar, as core/layer makes it: all zero but for these bytes. Written by test/unit/ops/empty-image.test.ts.
export const EMPTY_TAR_BYTES = ${TAR_BYTES};
`;

function build(): Uint8Array {
  const nothing = { entries: 0, highestUid: 0, highestGid: 0, droppedXattrs: 0 };
  const none = new Uint8Array();
  const layer = decodeLayerIndex(encodeLayerHeader({ ...nothing, tarBytes: TAR_BYTES, records: none, pool: none }));
  return buildErofs(listInodes(mergeLayers([layer])), [TAR_BYTES]);
}

test('the empty image is the one that core/layer builds', async () => {
  const image = Buffer.from(build());
  const pieces: string[] = [];
  for (let at = 0; at < image.length; at += 16) {
    const piece = image.subarray(at, at + 16);
    if (piece.some((byte) => byte !== 0)) pieces.push(`  [0x${at.toString(16)}, '${piece.toString('hex')}'],`);
  }
  const text = `${HEADER}export const EMPTY_IMAGE_BYTES = ${image.length};
export const EMPTY_IMAGE: readonly (readonly [at: number, hex: string])[] = [
${pieces.join('\n')}
];
`;
  await expect(text).toMatchFileSnapshot('../../../helper/ops/empty-image.gen.ts');
  const again = Buffer.alloc(empty.EMPTY_IMAGE_BYTES);
  for (const [at, hex] of empty.EMPTY_IMAGE) again.write(hex, at, 'hex');
  expect(again.equals(image)).toBe(true);
  expect(pieces.length).toBeGreaterThan(5);
});
