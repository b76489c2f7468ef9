import { describe, expect, test } from 'vitest';
import { planExec } from '../../../core/plan/exec.ts';
import { execCreateBody, readBody } from '../../../core/spec/docker-api.ts';
import { decodeRequest } from '../../../helper/decode/request.ts';
import { Seccomp } from '../../../proto/gen/berth/helper/v1/plan.ts';
import { Request } from '../../../proto/gen/berth/helper/v1/request.ts';
import { baseFacts, ID, intent } from '../../cases/load.ts';

const EXEC = 'ab'.repeat(32);
const plan = (exec: Record<string, unknown>, body: Record<string, unknown> = {}) =>
  planExec(
    { exec: readBody(execCreateBody, { Cmd: ['true'], ...exec }), body: intent(body).body },
    { facts: baseFacts(), execId: EXEC, hostname: 'web' },
  ).exec;

describe('planExec()', () => {
  test('what it does not say is the container’s', () => {
    const body = {
      User: 'app',
      WorkingDir: '/srv',
      Env: ['A=1'],
      HostConfig: { CapAdd: ['NET_ADMIN'], SecurityOpt: ['no-new-privileges', 'seccomp=unconfined'] },
    };
    expect(plan({}, body)).toMatchObject({
      container: ID,
      id: EXEC,
      process: {
        argv: ['true'],
        uid: 1000,
        cwd: '/srv',
        noNewPrivileges: true,
        env: expect.arrayContaining(['A=1', 'HOSTNAME=web', 'HOME=/home/app']),
      },
      hardening: { seccomp: Seccomp.SECCOMP_UNCONFINED, maskedPaths: [], readOnlyPaths: [], sysctls: [] },
      stdio: { tty: false, stdin: false, columns: 0, rows: 0 },
    });
  });

  test('its own user, directory, environment and terminal', () => {
    const exec = {
      User: '7:8',
      WorkingDir: '/w',
      Env: ['A=2', 'B=3'],
      Tty: true,
      AttachStdin: true,
      ConsoleSize: [25, 80],
    };
    expect(plan(exec, { User: 'app', Env: ['A=1'] })).toMatchObject({
      process: { uid: 7, gid: 8, cwd: '/w', env: expect.arrayContaining(['A=2', 'B=3', 'TERM=xterm']) },
      stdio: { tty: true, stdin: true, columns: 80, rows: 25 },
    });
  });

  test('--privileged gives every capability and keeps seccomp', () => {
    const exec = plan({ Privileged: true });
    expect(exec.process?.capabilities?.effective).toBe((1n << 41n) - 1n);
    expect(exec.hardening?.seccomp).toBe(Seccomp.SECCOMP_DEFAULT);
  });

  test('the ENTRYPOINT of the image has no part in it', () => {
    expect(plan({ Cmd: ['ls', '-l'] }).process?.argv).toEqual(['ls', '-l']);
  });

  test.each([
    [{ Cmd: [] }, 'No exec command specified'],
    [{ Cmd: [''] }, 'exec: "": executable file not found'],
    [{ WorkingDir: 'x' }, 'Cwd must be an absolute path'],
    [{ User: 'nobody-here' }, 'unable to find user nobody-here'],
    [{ Tty: true, ConsoleSize: [99_999, 1] }, 'console size'],
  ])('%j is refused', (exec, message) => {
    expect(() => plan(exec)).toThrow(message);
  });

  test('the helper can decode it', () => {
    const request = Request.fromPartial({
      instance: Buffer.alloc(16, 1),
      sequence: 1n,
      principal: 'me',
      profile: 'default',
      ticket: Buffer.alloc(16, 2),
      verb: { $case: 'exec', value: plan({ Tty: true, ConsoleSize: [25, 80] }) },
    });
    expect(decodeRequest(Request.encode(request).finish()).verb.$case).toBe('exec');
  });
});
