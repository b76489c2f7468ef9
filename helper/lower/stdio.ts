// Standard input, output and error: descriptors the helper made, or a pty of the container's own devpts instance. The master is opened through the
// mount we made ourselves (exec: through a directory that was seen to be a devpts), never through a path's meaning in the container, and the slave by
// ioctl on the master (CVE-2025-52565). The master goes to the helper over a socket; nothing else of the container's does.
import { O_CLOEXEC, O_NOCTTY, O_RDWR } from '../../proto/abi/fcntl.gen.ts';
import { TIOCGPTPEER, TIOCSCTTY, TIOCSPTLCK, TIOCSWINSZ } from '../../proto/abi/ioctls.gen.ts';
import { CMSGHDR_BYTES, MSGHDR_BYTES, SCM_RIGHTS, SOL_SOCKET } from '../../proto/abi/socket.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import type { Stdio } from '../../proto/gen/berth/helper/v1/plan.ts';
import { close, openWithin } from './calls.ts';
import type { StdioHost } from './host.ts';
import { type Program, Refused, type Result, u32, u64 } from './program.ts';

type Lowering = { readonly stdio: Stdio; readonly host: StdioHost; readonly devpts: Result | undefined };

/** Puts the three descriptors in place. `devpts` is the instance to take a pty from; gives the slave, if it is one. */
export function lowerStdio(program: Program, { stdio, host, devpts }: Lowering): Result | undefined {
  if (host.kind === 'pipes') {
    const setting = program.during('set standard input and output');
    for (const [i, descriptor] of host.descriptors.entries())
      setting.call(nr.SYS_dup3, [program.use(descriptor), i, 0]);
    return undefined;
  }
  if (devpts === undefined) throw new Refused('stdio.tty', 'needs a mount of /dev/pts');
  const making = program.during('make a terminal');
  const opened = openWithin(making, { at: devpts, path: 'ptmx', flags: O_RDWR | O_NOCTTY });
  const master = freeDescriptor(program);
  making.call(nr.SYS_dup3, [opened, master, O_CLOEXEC]);
  close(program, opened);
  making.call(nr.SYS_ioctl, [master, TIOCSPTLCK, program.data(u32(0))]);
  const slave = making.call(nr.SYS_ioctl, [master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC]);
  const size = program.data(new Uint8Array(new Uint16Array([stdio.rows, stdio.columns, 0, 0]).buffer));
  if (stdio.rows > 0 || stdio.columns > 0) making.call(nr.SYS_ioctl, [master, TIOCSWINSZ, size]);
  send(program.during('pass the terminal on'), program.use(host.socket), master);
  close(program, master);
  for (const i of [0, 1, 2]) making.call(nr.SYS_dup3, [slave, i, 0]);
  return slave;
}

/** The session's leader takes standard input as its controlling terminal. */
export function controlTerminal(program: Program): void {
  program.call(nr.SYS_ioctl, [0, TIOCSCTTY, 0], { step: 'take the terminal' });
}

/**
 * A number that no descriptor can have when the process gets there, so that a control message can name it: descriptors get the lowest number that is
 * free, those of the helper are known, and a record opens at most one.
 */
function freeDescriptor(program: Program): number {
  let free = 3;
  for (let left = program.records.length + 1; left > 0; free++) if (!program.descriptors.has(free)) left--;
  while (program.descriptors.has(free)) free++;
  return free;
}

function send(program: Program, socket: number, descriptor: number): void {
  const vector = program.data(u64(0, 1), [[0, program.data(new Uint8Array(8))]]);
  const control = new Uint8Array(CMSGHDR_BYTES + 8);
  control.set(u64(CMSGHDR_BYTES + 4));
  control.set(u32(SOL_SOCKET, SCM_RIGHTS, descriptor), 8);
  const message = new Uint8Array(MSGHDR_BYTES);
  message.set(u64(0, 0, 0, 1, 0, control.length));
  const parts = [[16, vector] as const, [32, program.data(control)] as const];
  program.call(nr.SYS_sendmsg, [socket, program.data(message, parts), 0]);
}
