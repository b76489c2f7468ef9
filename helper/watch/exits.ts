// The file of exits, which outlives every helper: keeper and helper append an entry for each child before they reap it, so that no exit is lost
// with the one who saw it. An entry is waitid(2)'s siginfo and the boot clock, as the keeper's program writes them. Pids come again: the first
// entry for a pid after its process was started is that process's.
import { constants, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import * as wait from '../../proto/abi/wait.gen.ts';
import { reserve } from '../sys/files.ts';
import { waitStatus } from '../sys/processes.ts';

const TIME_BYTES = 16;
/** A container that is stopped because the disk is full must have its end told, too. */
const ROOM_BYTES = 1 << 18;
export const ENTRY_BYTES = wait.SIGINFO_BYTES + TIME_BYTES;
const CLD_KILLED = 2;
const NS = 1_000_000_000n;

export type ExitEntry = { readonly pid: number; readonly status: number; readonly bootNs: bigint };

export type Exits = ReturnType<typeof openExits>;

/** Opens or makes the file. Entries are read as they come, each once. */
export function openExits(path: string) {
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_APPEND, 0o600);
  const known = new Map<number, ExitEntry[]>();
  let offset = 0;
  reserve(fd, ROOM_BYTES);
  const read = (): void => {
    const bytes = Buffer.alloc(ENTRY_BYTES * 256);
    for (;;) {
      const count = readSync(fd, bytes, 0, bytes.length, offset);
      for (let at = 0; at + ENTRY_BYTES <= count; at += ENTRY_BYTES) {
        const entry = decode(bytes.subarray(at, at + ENTRY_BYTES));
        known.set(entry.pid, [...(known.get(entry.pid) ?? []), entry]);
      }
      if (count < ENTRY_BYTES) return;
      offset += count - (count % ENTRY_BYTES);
    }
  };
  return {
    fd,
    append(entry: ExitEntry): void {
      const bytes = encode(entry);
      if (writeSync(fd, bytes) !== bytes.length) ftruncateSync(fd, wholeEntries(fd)); // the disk is full
    },
    /** The exit of the process with this pid that was started then; undefined while there is none. */
    find(pid: number, startedNs: bigint): ExitEntry | undefined {
      read();
      return known.get(pid)?.find((entry) => entry.bootNs >= startedNs);
    },
    /** Forgets all: nobody is left whose end could be in it. */
    clear(): void {
      ftruncateSync(fd, 0);
      reserve(fd, ROOM_BYTES);
      known.clear();
      offset = 0;
    },
  };
}

function wholeEntries(fd: number): number {
  const { size } = fstatSync(fd);
  return size - (size % ENTRY_BYTES);
}

function decode(bytes: Buffer): ExitEntry {
  const bootNs = bytes.readBigInt64LE(wait.SIGINFO_BYTES) * NS + bytes.readBigInt64LE(wait.SIGINFO_BYTES + 8);
  const status = waitStatus(bytes.readInt32LE(wait.SI_CODE_AT), bytes.readInt32LE(wait.SI_STATUS_AT));
  return { pid: bytes.readInt32LE(wait.SI_PID_AT), status, bootNs };
}

function encode({ pid, status, bootNs }: ExitEntry): Buffer {
  const bytes = Buffer.alloc(ENTRY_BYTES);
  const signal = status & 0x7f;
  bytes.writeInt32LE(signal === 0 ? wait.CLD_EXITED : status & 0x80 ? wait.CLD_DUMPED : CLD_KILLED, wait.SI_CODE_AT);
  bytes.writeInt32LE(pid, wait.SI_PID_AT);
  bytes.writeInt32LE(signal === 0 ? status >> 8 : signal, wait.SI_STATUS_AT);
  bytes.writeBigInt64LE(bootNs / NS, wait.SIGINFO_BYTES);
  bytes.writeBigInt64LE(bootNs % NS, wait.SIGINFO_BYTES + 8);
  return bytes;
}
