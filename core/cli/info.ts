// `berth info`. Source: docker/cli 28.2, cli/command/system/info.go.
import type { SystemInfo } from '../spec/docker-api.ts';
import { binarySize } from '../spec/units.ts';
import { type Given, textOf } from './command.ts';
import { formatValue } from './formatter.ts';
import type { Session } from './session.ts';
import { VERSION } from './version-text.ts';

/** Prints what the engine says about itself and the machine. */
export async function printInfo(session: Session, given: Given): Promise<number> {
  const info = await (await session.client()).info();
  const format = textOf(given, 'format');
  if (format !== undefined && format !== '') {
    session.stdout.write(
      `${formatValue({ ...info, ClientInfo: { Version: VERSION } }, format, { what: '', goType: 'system.dockerInfo' })}\n`,
    );
    return 0;
  }
  session.stdout.write(infoText(info));
  for (const warning of info.Warnings ?? []) session.stderr.write(`${warning}\n`);
  return 0;
}

function infoText(info: SystemInfo): string {
  const lines = [
    'Client: Berth',
    ` Version:    ${VERSION}`,
    '',
    'Server:',
    ` Containers: ${info.Containers}`,
    `  Running: ${info.ContainersRunning}`,
    `  Paused: ${info.ContainersPaused}`,
    `  Stopped: ${info.ContainersStopped}`,
    ` Images: ${info.Images}`,
    ` Server Version: ${info.ServerVersion}`,
    ` Storage Driver: ${info.Driver}`,
    ...(info.DriverStatus ?? []).map((pair) => `  ${pair?.[0]}: ${pair?.[1]}`),
    ` Logging Driver: ${info.LoggingDriver}`,
    ` Cgroup Driver: ${info.CgroupDriver}`,
    ` Cgroup Version: ${info.CgroupVersion}`,
    ` Plugins:`,
    `  Volume: ${(info.Plugins.Volume ?? []).join(' ')}`,
    `  Network: ${(info.Plugins.Network ?? []).join(' ')}`,
    `  Log: ${(info.Plugins.Log ?? []).join(' ')}`,
    ` Runtimes: ${Object.keys(info.Runtimes ?? {}).join(' ')}`,
    ` Default Runtime: ${info.DefaultRuntime}`,
    ...security(info),
    ` Kernel Version: ${info.KernelVersion}`,
    ` Operating System: ${info.OperatingSystem}`,
    ` OSType: ${info.OSType}`,
    ` Architecture: ${info.Architecture}`,
    ` CPUs: ${info.NCPU}`,
    ` Total Memory: ${binarySize(info.MemTotal)}`,
    ` Name: ${info.Name}`,
    ` ID: ${info.ID}`,
    ` Docker Root Dir: ${info.DockerRootDir}`,
    ` Debug Mode: ${info.Debug}`,
    ...proxies(info),
    ` Experimental: ${info.ExperimentalBuild}`,
    ' Insecure Registries:',
    ...(info.RegistryConfig.InsecureRegistryCIDRs ?? []).map((cidr) => `  ${cidr}`),
    ` Live Restore Enabled: ${info.LiveRestoreEnabled}`,
  ];
  return `${lines.join('\n')}\n`;
}

function security(info: SystemInfo): string[] {
  const options = info.SecurityOptions ?? [];
  if (options.length === 0) return [];
  const lines = options.flatMap((option) => {
    const fields = option.split(',').map((field) => field.split('='));
    const name = fields.find(([key]) => key === 'name')?.[1] ?? option;
    return [
      `  ${name}`,
      ...fields
        .filter(([key]) => key !== 'name')
        .map(([key = '', value]) => `   ${key.charAt(0).toUpperCase()}${key.slice(1)}: ${value}`),
    ];
  });
  return [' Security Options:', ...lines];
}

function proxies(info: SystemInfo): string[] {
  const pairs = [
    ['HTTP Proxy', info.HttpProxy],
    ['HTTPS Proxy', info.HttpsProxy],
    ['No Proxy', info.NoProxy],
  ] as const;
  return pairs.filter(([, value]) => value !== '').map(([name, value]) => ` ${name}: ${value}`);
}
