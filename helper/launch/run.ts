// Runs a lowered launch or exec: starts it, reads what it reports, and ends with a process or with the step that failed. Nothing here waits in the
// kernel: a container that traces its processes can hold up their end for as long as it likes, so there is a deadline, and the loop goes on.
import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { ENOENT, ENOTDIR } from '../../proto/abi/errno.gen.ts';
import { SIGKILL } from '../../proto/abi/signal.gen.ts';
import * as unistd from '../../proto/abi/unistd.gen.ts';
import { REPORT_BYTES } from '../lower/encode.ts';
import { createProgram, type Program } from '../lower/program.ts';
import { pipe2, watchPidfd } from '../sys/descriptors.ts';
import { errnoName } from '../sys/error.ts';
import { pidfdOpen, pidfdSendSignal, waitPidfd } from '../sys/processes.ts';
import { BEFORE_LAUNCHER, type Child, type StartOptions, startChild } from './child.ts';

/** A step that the kernel refused: in words, the call, its number. */
export type StepFailure = {
  readonly step: string;
  readonly call: string;
  readonly errno: number;
  readonly detail: string;
};
export type Report = { readonly pid: number | undefined; readonly failure: StepFailure | undefined };
type Times = { readonly startUs: number; readonly programUs: number };
export type RunOutcome =
  | ({ readonly kind: 'running'; readonly pid: number; readonly pidfd: number } & Times)
  | { readonly kind: 'failed'; readonly failure: StepFailure };

export type RunOptions = StartOptions & { readonly deadlineMs?: number };
export type Pipe = readonly [read: number, write: number];

const DEADLINE_MS = 30_000;

/** What a program has written on its status pipe by its end. Several failures are those of the files it tried to execute: the first that is more than "not there" counts. */
export function decodeStatus(bytes: Buffer, program: Program): Report {
  let pid: number | undefined;
  const failures: StepFailure[] = [];
  for (let at = 0; at + REPORT_BYTES <= bytes.length; at += REPORT_BYTES) {
    const record = bytes.readUInt32LE(at);
    const result = Number(bytes.readBigInt64LE(at + 4));
    if (record === 0) pid = result;
    else failures.push(failureOf(program, record, -result));
  }
  const worst = failures.find(({ errno }) => errno !== ENOENT && errno !== ENOTDIR) ?? failures[0];
  return { pid, failure: worst };
}

function failureOf(program: Program, index: number, errno: number): StepFailure {
  const record = index < BEFORE_LAUNCHER ? program.records[index - 1] : undefined;
  const step = record?.step ?? `execute the launcher (record ${index - BEFORE_LAUNCHER})`;
  return { step, call: callName(record?.number), errno, detail: `${step}: ${errnoName(errno)}` };
}

/** `openat2` for 437; empty for what is no system call. */
function callName(number: number | undefined): string {
  const name = Object.entries(unistd).find(([, value]) => value === number)?.[0] ?? '';
  return name.replace('SYS_', '');
}

/**
 * Starts the program and follows it to its outcome. `status` is the pipe the program was made with; both ends are closed here. The first process is
 * reaped in any case, the second where it failed; a running one is the caller's to reap.
 */
export async function runProgram(program: Program, status: Pipe, options: RunOptions = {}): Promise<RunOutcome> {
  const { pid, failure, startUs, programUs } = await followed(program, status, options);
  if (pid === undefined)
    return { kind: 'failed', failure: failure ?? failureNamed('the launcher ended without a word') };
  const pidfd = pidfdOpen(pid);
  if (failure === undefined) return { kind: 'running', pid, pidfd, startUs, programUs };
  pidfdSendSignal(pidfd, SIGKILL);
  await reaped(pidfd);
  return { kind: 'failed', failure };
}

/** Runs what does one step and ends; gives how that failed. */
export async function runToEnd(step: string, make: (program: Program) => void): Promise<StepFailure | undefined> {
  const status = pipe2();
  const program = createProgram(status[1]).during(step);
  make(program);
  program.call(unistd.SYS_exit_group, [0]);
  return (await followed(program, status, {})).failure;
}

function startAndClose(program: Program, [read, write]: Pipe, options: StartOptions): Child {
  try {
    return startChild(program, options);
  } catch (error) {
    closeSync(read);
    throw error;
  } finally {
    closeSync(write);
  }
}

/** Starts the program and reads what it reports until nobody can report any more. A container's root can hold that up, so it has a deadline. */
async function followed(program: Program, status: Pipe, options: RunOptions): Promise<Report & Times> {
  const { deadlineMs = DEADLINE_MS } = options;
  const begun = performance.now();
  const first = startAndClose(program, status, options);
  const started = performance.now();
  const chunks: Buffer[] = [];
  const socket = new Socket({ fd: status[0], readable: true, writable: false });
  const late = setTimeout(() => socket.destroy(), deadlineMs);
  await new Promise((resolve) => {
    socket.on('data', (chunk: Buffer) => void chunks.push(chunk));
    socket.on('error', () => undefined); // it closes all the same
    socket.on('close', resolve);
  });
  clearTimeout(late);
  const micros = (ms: number) => Math.round(ms * 1000);
  const times = { startUs: micros(started - begun), programUs: micros(performance.now() - started) };
  const report = { ...decodeStatus(Buffer.concat(chunks), program), ...times };
  if (!socket.readableEnded) pidfdSendSignal(first.pidfd, SIGKILL);
  await reaped(first.pidfd);
  return socket.readableEnded ? report : { ...report, failure: failureNamed(`not done within ${deadlineMs / 1000} s`) };
}

function failureNamed(detail: string): StepFailure {
  return { step: 'start', call: '', errno: 0, detail };
}

/** Waits for the process's end, reaps it and closes its pidfd; gives wait(2)'s status. */
export async function reaped(pidfd: number): Promise<number> {
  let status = waitPidfd(pidfd);
  for (; status === undefined; status = waitPidfd(pidfd))
    await new Promise<void>((resolve) => watchPidfd(pidfd, resolve));
  closeSync(pidfd);
  return status;
}
