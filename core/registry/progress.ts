// The lines of a pull as Docker writes them, for its progress bars. Source: moby distribution/xfer/download.go, pkg/jsonmessage, v28.
import type { Digest } from '../base/brand.ts';
import type { ProgressLine } from '../spec/docker-api.ts';
import { familiarText, type Reference } from '../spec/reference.ts';
import { decimalSize } from '../spec/units.ts';

export type OnProgress = (line: ProgressLine) => void;

const EVERY_MS = 100;

/** How a layer is called in the lines: 12 digits. */
export function layerId(digest: Digest): string {
  return digest.slice('sha256:'.length, 'sha256:'.length + 12);
}

/** The first line: which repository of the registry, which tag or digest. */
export function pullingFrom(reference: Reference): ProgressLine {
  return { status: `Pulling from ${reference.path}`, id: reference.digest ?? reference.tag ?? 'latest' };
}

/** A line about one layer. */
export function layerLine(digest: Digest, status: string): ProgressLine {
  return { status, progressDetail: {}, id: layerId(digest) };
}

/** The last two lines. `newer`: something was not there before. */
export function pulledLines(reference: Reference, digest: Digest, newer: boolean): readonly ProgressLine[] {
  const what = newer ? 'Downloaded newer image' : 'Image is up to date';
  return [{ status: `Digest: ${digest}` }, { status: `Status: ${what} for ${familiarText(reference)}` }];
}

/** Tells how far a layer is, `Downloading` or `Extracting`, at most ten times a second, and always the end. */
export function byteProgress(
  layer: { digest: Digest; size: number },
  status: string,
  tell: OnProgress,
): (done: number) => void {
  let toldMs = Number.NEGATIVE_INFINITY;
  return (done) => {
    const nowMs = performance.now();
    if (done < layer.size && nowMs - toldMs < EVERY_MS) return;
    toldMs = nowMs;
    const progressDetail = { current: done, total: layer.size };
    tell({ status, progressDetail, progress: progressBar(done, layer.size), id: layerId(layer.digest) });
  };
}

/** `[=====>   ]  1.235MB/3.4MB`, 50 columns wide. Source: moby pkg/jsonmessage, JSONProgress.String, without a terminal. */
export function progressBar(current: number, total: number): string {
  if (current <= 0 && total <= 0) return '';
  if (total <= 0) return decimalSize(current, 4).padStart(8);
  const share = Math.min(50, Math.trunc(Math.trunc((current / total) * 100) / 2));
  const bar = share < 50 ? `${'='.repeat(share)}>${' '.repeat(50 - share)}` : `${'='.repeat(50)}>`;
  return `[${bar}] ${decimalSize(current, 4).padStart(8)}/${decimalSize(total, 4)}`;
}
