// `berth version`. Source: docker/cli 28.2, cli/command/system/version.go.
import { API_VERSION, type SystemVersion } from '../spec/docker-api.ts';
import { type Given, textOf } from './command.ts';
import { complain, failureText } from './failure.ts';
import { formatValue } from './formatter.ts';
import type { Session } from './session.ts';
import { VERSION } from './version-text.ts';

/** Prints our version and the engine's; without an engine ours, and exit code 1. */
export async function printVersion(session: Session, given: Given): Promise<number> {
  const mine = {
    Version: VERSION,
    ApiVersion: API_VERSION,
    DefaultAPIVersion: API_VERSION,
    NodeVersion: process.version,
    Os: process.platform,
    Arch: process.arch === 'x64' ? 'amd64' : process.arch,
  };
  const found = await serverVersion(session);
  const server = 'Version' in found ? found : undefined;
  const format = textOf(given, 'format');
  if (format !== undefined && format !== '') {
    const value = server === undefined ? { Client: mine } : { Client: mine, Server: server };
    session.stdout.write(`${formatValue(value, format, { what: '', goType: 'system.clientVersion' })}\n`);
  } else session.stdout.write(clientText(mine) + (server === undefined ? '' : serverText(server)));
  if (!('problem' in found)) return 0;
  complain(session, found.problem);
  return 1;
}

async function serverVersion(session: Session): Promise<SystemVersion | { problem: string }> {
  try {
    return await (await session.client()).version();
  } catch (error) {
    return { problem: failureText(error, session.env).text };
  }
}

function clientText(mine: Readonly<Record<string, string>>): string {
  return `Client: Berth\n${rows(' ', [
    ['Version', mine['Version']],
    ['API version', mine['ApiVersion']],
    ['Node version', mine['NodeVersion']],
    ['OS/Arch', `${mine['Os']}/${mine['Arch']}`],
  ])}`;
}

function serverText(server: SystemVersion): string {
  const engine = rows('  ', [
    ['Version', server.Version],
    ['API version', `${server.ApiVersion} (minimum version ${server.MinAPIVersion})`],
    ['Kernel version', server.KernelVersion],
    ['OS/Arch', `${server.Os}/${server.Arch}`],
  ]);
  const others = (server.Components ?? []).filter((one) => one.Name !== 'Engine');
  return `\nServer:\n Engine:\n${engine}${others.map((one) => ` ${one.Name}:\n${rows('  ', [['Version', one.Version]])}`).join('')}`;
}

function rows(indent: string, list: readonly (readonly [string, string | undefined])[]): string {
  return list.map(([name, value]) => `${indent}${`${name}:`.padEnd(19 - indent.length + 1)}${value ?? ''}\n`).join('');
}
