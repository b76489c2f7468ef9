// `berth audit`: what the helper recorded, and whether the record is whole.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { recordHash } from '../../proto/sign/chain.ts';
import { type Segment, verifyChain } from '../../proto/sign/verify-chain.ts';
import { type Given, isOn, textOf } from './command.ts';
import { CliError } from './error.ts';
import { policyPathsOf, reason } from './policy-files.ts';
import type { Session } from './session.ts';

/** `berth audit [--verify] [--find HASH] [--json]`. With --verify the exit code is 1 where the chain is broken, with --find where no record has that hash. */
export async function audit(session: Session, given: Given): Promise<number> {
  const folder = textOf(given, 'directory') ?? policyPathsOf(session.place()).audit;
  const segments = readSegments(folder);
  const wanted = textOf(given, 'find');
  if (wanted !== undefined) return find(session, segments, wanted);
  if (isOn(given, 'verify')) return verify(session, segments, folder);
  for (const { bytes } of segments) {
    for (const line of linesOf(bytes)) session.stdout.write(isOn(given, 'json') ? `${line}\n` : recordText(line));
  }
  return 0;
}

function readSegments(folder: string): Segment[] {
  try {
    const names = readdirSync(folder).filter((name) => /^\d{8}\.jsonl$/.test(name));
    return names.sort().map((name) => ({ name: join(folder, name), bytes: readFileSync(join(folder, name)) }));
  } catch (error) {
    throw new CliError(`${folder}: ${reason(error)}`);
  }
}

/** Whole records; what a crash cut short is none. */
function linesOf(bytes: Buffer): string[] {
  return bytes
    .subarray(0, bytes.lastIndexOf(10) + 1)
    .toString()
    .split('\n')
    .filter((line) => line !== '');
}

function verify(session: Session, segments: readonly Segment[], folder: string): number {
  const chain = verifyChain(segments);
  if (chain.broken !== undefined)
    throw new CliError(`${chain.broken}: the chain is broken there; the ${chain.records} records before it are whole`);
  const torn =
    chain.tornBytes > 0 ? `; ${chain.tornBytes} bytes of a record that was being written are left at the end` : '';
  session.stdout.write(
    `${folder}: ${chain.records} records in ${segments.length} files, whole; the last is ${chain.last}${torn}\n`,
  );
  return 0;
}

function find(session: Session, segments: readonly Segment[], wanted: string): number {
  const all = segments.flatMap(({ bytes }) => linesOf(bytes));
  const found = all.find((line) => recordHash(line) === wanted);
  if (found === undefined) throw new CliError(`no record has the hash ${wanted}`);
  session.stdout.write(`${found}\n`);
  return 0;
}

/** `2026-01-01T00:00:00.000Z decision uid 1000 alice/default launch`. */
function recordText(line: string): string {
  const record: Record<string, unknown> = JSON.parse(line);
  const { time, kind, uid, principal, profile, verb, outcome, detail, reasons, since } = record;
  const who = uid === undefined ? '' : ` uid ${uid}`;
  const what = [principal === undefined ? '' : `${principal}/${profile}`, verb, outcome, detail]
    .filter(Boolean)
    .join(' ');
  const why = Array.isArray(reasons) ? `: ${reasons.join('; ')}` : '';
  const missed = since === undefined ? '' : ` (since the record before: ${JSON.stringify(since)})`;
  return `${time} ${kind}${who}${what === '' ? '' : ` ${what}`}${why}${missed}\n`;
}
