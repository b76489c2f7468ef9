import { describe, expect, test } from 'vitest';
import { planContainer } from '../../../core/plan/container.ts';
import { MASKED_PATHS, READ_ONLY_PATHS } from '../../../core/plan/hardening.ts';
import { NS_FLAGS } from '../../../core/plan/namespaces.ts';
import { SYSCTLS as OWN_SYSCTLS } from '../../../core/plan/sysctls.ts';
import { MASKABLE, READ_ONLY_ABLE, SYSCTLS } from '../../../proto/policy/lists.ts';
import { Seccomp } from '../../../proto/gen/berth/helper/v1/plan.ts';
import { baseFacts, DONOR, donorFacts, hostIntent } from '../../cases/load.ts';

const facts = baseFacts({ joined: { donor: donorFacts() } });
const plan = (host: Record<string, unknown>) => planContainer(hostIntent(host), facts).launch;
const sysctls = (host: Record<string, unknown>) =>
  Object.fromEntries((plan(host).hardening?.sysctls ?? []).map(({ name, value }) => [name, value]));
const PORTS = { 'net.ipv4.ip_unprivileged_port_start': '0' };

describe('planHardening()', () => {
  test('the defaults', () => {
    expect(plan({}).hardening).toMatchObject({
      seccomp: Seccomp.SECCOMP_DEFAULT,
      maskedPaths: MASKED_PATHS,
      readOnlyPaths: READ_ONLY_PATHS,
    });
    expect(plan({}).process?.noNewPrivileges).toBe(false);
  });

  test('every default is on the lists of the helper', () => {
    expect(MASKED_PATHS.filter((path) => !MASKABLE.has(path))).toEqual([]);
    expect(READ_ONLY_PATHS.filter((path) => !READ_ONLY_ABLE.has(path))).toEqual([]);
    expect(Object.keys(PORTS).filter((name) => !SYSCTLS.has(name))).toEqual([]);
    const own = [...OWN_SYSCTLS].map(([name, ns]) => [name, NS_FLAGS[ns]]);
    expect(own.sort()).toEqual([...SYSCTLS].sort());
  });

  test.each([
    ['seccomp=unconfined', { seccomp: Seccomp.SECCOMP_UNCONFINED }],
    ['seccomp:unconfined', { seccomp: Seccomp.SECCOMP_UNCONFINED }],
    ['seccomp=builtin', { seccomp: Seccomp.SECCOMP_DEFAULT }],
    ['systempaths=unconfined', { maskedPaths: [], readOnlyPaths: [] }],
    ['apparmor=unconfined', { seccomp: Seccomp.SECCOMP_DEFAULT }],
    ['label=disable', { seccomp: Seccomp.SECCOMP_DEFAULT }],
    ['disable', { seccomp: Seccomp.SECCOMP_DEFAULT }],
  ])('--security-opt %s', (option, expected) => {
    expect(plan({ SecurityOpt: [option] }).hardening).toMatchObject(expected);
  });

  test.each([
    ['no-new-privileges', true],
    ['no-new-privileges=true', true],
    ['no-new-privileges:1', true],
    ['no-new-privileges=false', false],
  ])('--security-opt %s', (option, expected) => {
    expect(plan({ SecurityOpt: [option] }).process?.noNewPrivileges).toBe(expected);
  });

  test.each([
    ['nope', 'invalid --security-opt 1: "nope"'],
    ['nope=1', 'invalid --security-opt 2: "nope=1"'],
    ['no-new-privileges=maybe', 'invalid --security-opt 2: "no-new-privileges=maybe"'],
    ['systempaths=x', 'invalid --security-opt 2: "systempaths=x"'],
    ['seccomp={}', '--security-opt seccomp=PROFILE'],
    ['apparmor=mine', 'AppArmor profiles are not there yet'],
  ])('--security-opt %s is refused', (option, message) => {
    expect(() => plan({ SecurityOpt: [option] })).toThrow(message);
  });

  test('--privileged has no seccomp and no masks, unless seccomp is named', () => {
    const none = { maskedPaths: [], readOnlyPaths: [] };
    expect(plan({ Privileged: true }).hardening).toMatchObject({ seccomp: Seccomp.SECCOMP_UNCONFINED, ...none });
    const named = { Privileged: true, SecurityOpt: ['seccomp=builtin'] };
    expect(plan(named).hardening).toMatchObject({ seccomp: Seccomp.SECCOMP_DEFAULT, ...none });
  });

  test('lists of the request take the place of the defaults', () => {
    const host = { MaskedPaths: ['/proc/kcore'], ReadonlyPaths: [] };
    expect(plan(host).hardening).toMatchObject({ maskedPaths: ['/proc/kcore'], readOnlyPaths: [] });
    expect(() => plan({ MaskedPaths: ['/etc/passwd'] })).toThrow('MaskedPaths: /etc/passwd is not on the list');
  });

  test.each([
    [{ 'net.core.somaxconn': '5' }, { ...PORTS, 'net.core.somaxconn': '5' }],
    [{ 'net/core/somaxconn': '5' }, { ...PORTS, 'net.core.somaxconn': '5' }],
    [{ 'net.ipv4.ip_unprivileged_port_start': '80' }, { 'net.ipv4.ip_unprivileged_port_start': '80' }],
    [
      { 'kernel.shmmax': '1', 'fs.mqueue.msg_max': '7' },
      { ...PORTS, 'kernel.shmmax': '1', 'fs.mqueue.msg_max': '7' },
    ],
    [{ 'kernel.domainname': 'd' }, { ...PORTS, 'kernel.domainname': 'd' }],
  ])('--sysctl %j', (asked, expected) => {
    expect(sysctls({ Sysctls: asked })).toEqual(expected);
  });

  // Texts: runc, libcontainer/configs/validate/validator.go.
  test.each([
    [{ Sysctls: { 'vm.swappiness': '1' } }, 'sysctl "vm.swappiness" is not in a separate kernel namespace'],
    [{ Sysctls: { 'kernel.core_pattern': 'x' } }, 'sysctl "kernel.core_pattern" is not in a separate kernel namespace'],
    [{ Sysctls: { 'net/../kernel/core_pattern': 'x' } }, 'is not on the list'],
    [{ Sysctls: { 'net.ipv4.tcp_ecn': '1' } }, 'sysctl "net.ipv4.tcp_ecn" is not on the list of those that can be set'],
    [{ Sysctls: { 'fs.mqueue.nope': '1' } }, 'is not on the list of those that can be set'],
    [{ Sysctls: { 'kernel.hostname': 'x' } }, 'conflicts with the OCI "hostname" field'],
    [
      { Sysctls: { 'kernel.sem': '1' }, IpcMode: 'host' },
      'sysctl "kernel.sem" is not allowed in the hosts ipc namespace',
    ],
    [{ Sysctls: { 'kernel.sem': '1' }, IpcMode: 'container:donor' }, 'is not allowed in the hosts ipc namespace'],
    [
      { Sysctls: { 'net.core.somaxconn': '1' }, NetworkMode: 'host' },
      'sysctl "net.core.somaxconn" not allowed in host network namespace',
    ],
    [{ Sysctls: { 'kernel.domainname': 'd' }, UTSMode: 'host' }, 'is not in a separate kernel namespace'],
    [{ Sysctls: { 'net.core.somaxconn': 'a\nb' } }, 'printable characters'],
    [{ Sysctls: { 'net.core.somaxconn': '' } }, 'printable characters'],
  ])('%j is refused', (host, message) => {
    expect(() => plan(host)).toThrow(message);
  });

  test('a network of somebody else gets no sysctl of ours', () => {
    expect(DONOR).toHaveLength(64);
    expect(sysctls({ NetworkMode: 'container:donor' })).toEqual({});
    expect(sysctls({ NetworkMode: 'host' })).toEqual({});
  });
});
