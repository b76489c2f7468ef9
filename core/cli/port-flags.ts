// `--publish` and `--expose` to Docker's port maps. Source: docker/go-connections nat/nat.go.
import { CliError } from './error.ts';

type Binding = { HostIp: string; HostPort: string };

/** The ports that a container exposes, as keys `80/tcp`. Throws CliError. */
export function exposePorts(expose: readonly string[], publish: readonly string[]): Record<string, unknown> {
  const ports: Record<string, unknown> = {};
  for (const text of expose) {
    const [range = '', protocol = 'tcp'] = text.split('/');
    if (!/^\d+(-\d+)?$/.test(range))
      throw new CliError(
        `invalid range format for --expose: ${text}, error: strconv.ParseUint: parsing ${JSON.stringify(range)}: invalid syntax`,
        125,
      );
    for (const port of readRange(range, 'expose')) ports[`${port}/${protocol}`] = {};
  }
  for (const key of Object.keys(bindPorts(publish))) ports[key] = {};
  return ports;
}

/** `[ip:][host]:container[/proto]` and ranges, to the bindings of each container port. Throws CliError. */
export function bindPorts(publish: readonly string[]): Record<string, Binding[]> {
  const bound: Record<string, Binding[]> = {};
  for (const text of publish) {
    const [address = '', protocol = 'tcp'] = text.split('/');
    if (!['tcp', 'udp', 'sctp'].includes(protocol.toLowerCase())) throw new CliError(`invalid proto: ${protocol}`, 125);
    const { ip, host, container } = splitAddress(address);
    if (container === '') throw new CliError(`no port specified: ${text}<empty>`, 125);
    const inside = readRange(container, 'containerPort');
    const outside = host === '' ? [] : readRange(host, 'hostPort');
    if (outside.length > 0 && outside.length !== inside.length && inside.length !== 1)
      throw new CliError(`invalid ranges specified for container and host Ports: ${container} and ${host}`, 125);
    inside.forEach((port, at) => {
      const hostPort = inside.length === 1 && outside.length > 1 ? host : String(outside[at] ?? '');
      const key = `${port}/${protocol.toLowerCase()}`;
      bound[key] = [...(bound[key] ?? []), { HostIp: ip, HostPort: hostPort }];
    });
  }
  return bound;
}

function splitAddress(address: string): { ip: string; host: string; container: string } {
  const bracket = /^\[([^\]]*)\]:(.*)$/.exec(address);
  const parts = (bracket?.[2] ?? address).split(':');
  const container = parts.pop() ?? '';
  const host = parts.pop() ?? '';
  return { ip: bracket?.[1] ?? parts.join(':'), host, container };
}

function readRange(text: string, what: string): number[] {
  const found = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  const from = Number(found?.[1]);
  const to = Number(found?.[2] ?? found?.[1]);
  if (found === null || from > to || to > 65_535) throw new CliError(`invalid ${what}: ${text}`, 125);
  return Array.from({ length: to - from + 1 }, (_, at) => from + at);
}
