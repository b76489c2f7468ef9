// The engine's log: one line for each thing worth knowing, in a file of bounded size; what is full becomes `.1`.
import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';

const BYTES_MAX = 1 << 20;

export type LogFile = { readonly write: (line: string) => void; readonly close: () => void };

export function openLogFile(path: string): LogFile {
  let fd = openSync(path, 'a', 0o600);
  let size = fstatSync(fd).size;
  return {
    write: (line) => {
      const bytes = Buffer.from(`${new Date().toISOString()} ${line.replaceAll('\n', '\n  ')}\n`);
      try {
        if (size + bytes.length > BYTES_MAX) {
          closeSync(fd);
          renameSync(path, `${path}.1`);
          fd = openSync(path, 'a', 0o600);
          size = 0;
        }
        size += writeSync(fd, bytes);
      } catch (error) {
        tellStarter(`${path}: ${error instanceof Error ? error.message : String(error)}: ${line}`);
      }
    },
    close: () => closeSync(fd),
  };
}

/** On standard error, which may lie on the same disk: a full one must not end the engine. */
export function tellStarter(line: string): void {
  try {
    writeSync(2, `berth engine: ${line}\n`);
  } catch {
    // there is no third place
  }
}
