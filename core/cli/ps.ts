// `berth ps`. Source: docker/cli 28.2, cli/command/container/list.go and cli/command/formatter/container.go.
import { printable } from '../base/printable.ts';
import type { ContainerSummary, PortInUse } from '../spec/docker-api.ts';
import { decimalSize, humanDuration } from '../spec/units.ts';
import { type Given, isOn, listOf, textOf } from './command.ts';
import { readConfig } from './config.ts';
import { wholeOf } from './container-body.ts';
import { readFilters } from './filters.ts';
import { formatList, type Row, withJson } from './formatter.ts';
import type { Session } from './session.ts';

const TABLE = '{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}';

const HEADERS: Row = {
  ID: 'CONTAINER ID',
  Names: 'NAMES',
  Image: 'IMAGE',
  Command: 'COMMAND',
  CreatedAt: 'CREATED AT',
  RunningFor: 'CREATED',
  Ports: 'PORTS',
  State: 'STATE',
  Status: 'STATUS',
  Size: 'SIZE',
  Labels: 'LABELS',
  Label: (name: string) => name.split(/[.-]/).at(-1)?.replaceAll('_', ' ') ?? '',
  Mounts: 'MOUNTS',
  LocalVolumes: 'LOCAL VOLUMES',
  Networks: 'NETWORKS',
  Platform: 'PLATFORM',
};

/** Prints the running containers, or all. */
export async function listContainers(session: Session, given: Given): Promise<number> {
  const quiet = isOn(given, 'quiet');
  const asked = textOf(given, 'format') ?? '';
  if (quiet && asked !== '')
    session.stderr.write('WARNING: Ignoring custom format, because both --format and --quiet are set.\n');
  const format = quiet ? '' : asked || (readConfig(session.env).psFormat ?? '');
  const latest = isOn(given, 'latest') ? 1 : undefined;
  const last = wholeOf(given, 'last');
  const limit = last !== undefined && last > 0 ? last : latest;
  const size = isOn(given, 'size');
  const filters = readFilters(listOf(given, 'filter'));
  const query = { all: isOn(given, 'all'), limit, filters, size: size || /\{\{[^}]*\.Size\b/.test(format) };
  const containers = await (await session.client()).listContainers(query);
  const rows = containers.map((one) => withJson(rowOf(one, { full: isOn(given, 'no-trunc'), now: Date.now() })));
  if (quiet) {
    session.stdout.write(rows.map((row) => `${row['ID']}\n`).join(''));
    return 0;
  }
  const table = size ? `${TABLE}\t{{.Size}}` : TABLE;
  session.stdout.write(
    formatList({
      format: format === '' ? 'table' : format,
      table,
      headers: HEADERS,
      rows,
      goType: '*formatter.ContainerContext',
      blame: { parse: 'failed to parse template', run: 'failed to execute template' },
    }),
  );
  return 0;
}

function rowOf(one: ContainerSummary, how: { full: boolean; now: number }): Row {
  const labels = one.Labels ?? {};
  const mounts = (one.Mounts ?? []).map((mount) => mount.Name || mount.Source);
  const networks = Object.keys(one.NetworkSettings?.Networks ?? {});
  return {
    ID: how.full ? one.Id : one.Id.slice(0, 12),
    Names: namesOf(one.Names ?? [], how.full),
    Image: imageOf(one, how.full),
    Command: printable(JSON.stringify(how.full ? one.Command : ellipsis(one.Command, 20))),
    CreatedAt: goTime(one.Created),
    RunningFor: `${humanDuration(how.now - one.Created * 1000)} ago`,
    Ports: portsText(one.Ports ?? []),
    State: one.State,
    Status: one.Status,
    Size: sizeText(one),
    Labels: Object.entries(labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(','),
    Label: (name: string) => labels[name] ?? '',
    Mounts: mounts.map((mount) => (how.full ? mount : ellipsis(mount, 15))).join(','),
    LocalVolumes: String((one.Mounts ?? []).filter((mount) => mount.Driver === 'local').length),
    Networks: networks.join(','),
    Platform: null,
  };
}

/** The names without their slash; those of links only with --no-trunc. */
function namesOf(names: readonly string[], full: boolean): string {
  const bare = names.map((name) => name.replace(/^\//, ''));
  return (full ? bare : bare.filter((name) => !name.includes('/'))).join(',');
}

function imageOf(one: ContainerSummary, full: boolean): string {
  if (one.Image === '') return '<no image>';
  const hash = one.Image.replace(/^sha256:/, '');
  if (!full && one.ImageID === one.Image && /^[0-9a-f]{64}$/.test(hash)) return hash.slice(0, 12);
  return full ? one.Image : one.Image.replace(/@sha256:[0-9a-f]{64}$/, '');
}

function sizeText(one: ContainerSummary): string {
  const own = decimalSize(one.SizeRw ?? 0);
  return (one.SizeRootFs ?? 0) > 0 ? `${own} (virtual ${decimalSize(one.SizeRootFs ?? 0)})` : own;
}

/** The first `max` characters, the last of them `…` where it is longer. */
export function ellipsis(text: string, max: number): string {
  const letters = [...text];
  return letters.length <= max ? text : `${letters.slice(0, max - 1).join('')}…`;
}

/** Go's `2026-11-23 23:30:43 +0000 UTC` in the local zone. */
export function goTime(seconds: number): string {
  const date = new Date(seconds * 1000);
  const minutes = -date.getTimezoneOffset();
  const local = new Date(date.getTime() + minutes * 60_000).toISOString().replace('T', ' ').slice(0, 19);
  const hours = Math.trunc(Math.abs(minutes) / 60);
  const zone = `${minutes < 0 ? '-' : '+'}${String(hours).padStart(2, '0')}${String(Math.abs(minutes) % 60).padStart(2, '0')}`;
  const name =
    new Intl.DateTimeFormat('en', { timeZoneName: 'short' })
      .formatToParts(date)
      .find((part) => part.type === 'timeZoneName')?.value ?? 'UTC';
  return `${local} ${zone} ${name}`;
}

/** `0.0.0.0:32769->5000/tcp, 53/udp`; neighbouring ports with the same other half are joined. */
export function portsText(ports: readonly PortInUse[]): string {
  const sorted = [...ports].sort(
    (left, right) => left.PrivatePort - right.PrivatePort || (left.Type < right.Type ? -1 : 1),
  );
  const groups: { ip: string; type: string; first: PortInUse; last: PortInUse }[] = [];
  for (const port of sorted) {
    const before = groups.find(
      (group) =>
        group.ip === (port.IP ?? '') &&
        group.type === port.Type &&
        group.last.PrivatePort + 1 === port.PrivatePort &&
        (port.PublicPort === undefined
          ? group.last.PublicPort === undefined
          : group.last.PublicPort === port.PublicPort - 1 && group.first.PublicPort === group.first.PrivatePort),
    );
    if (before === undefined) groups.push({ ip: port.IP ?? '', type: port.Type, first: port, last: port });
    else before.last = port;
  }
  return groups
    .map(({ ip, type, first, last }) => {
      const inside = range(first.PrivatePort, last.PrivatePort);
      if (first.PublicPort === undefined) return `${inside}/${type}`;
      const host = ip.includes(':') ? `[${ip}]` : ip;
      return `${host}:${range(first.PublicPort, last.PublicPort ?? first.PublicPort)}->${inside}/${type}`;
    })
    .join(', ');
}

function range(from: number, to: number): string {
  return from === to ? String(from) : `${from}-${to}`;
}
