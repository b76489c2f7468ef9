// `--device`, `--gpus` and the flags that limit the use of one device. Source: docker/cli 28.2, opts/throttledevice.go, opts/weightdevice.go, opts/gpus.go.
import { readRamSize } from '../spec/units.ts';
import { CliError } from './error.ts';

type Device = { PathOnHost: string; PathInContainer: string; CgroupPermissions: string };

/** `--device HOST[:CONTAINER[:rwm]]`. Throws CliError. */
export function readDevice(text: string): Device {
  const parts = text.split(':');
  const [host = '', second, third] = parts;
  if (parts.length > 3) throw new CliError(`invalid device specification: ${text}`, 125);
  if (!host.startsWith('/')) throw new CliError(`${host} is not an absolute path`, 125);
  const isMode = second !== undefined && third === undefined && /^[rwm]{1,3}$/.test(second);
  const inside = second === undefined || isMode ? host : second;
  return { PathOnHost: host, PathInContainer: inside, CgroupPermissions: (isMode ? second : third) ?? 'rwm' };
}

type Gpus = {
  Driver: string;
  Count: number;
  DeviceIDs: readonly string[] | null;
  Capabilities: [['gpu']];
  Options: Record<string, string>;
};

/** `--gpus all`, a count, or `device=0,1`. Null when it was not given. */
export function readGpus(text: string | undefined): readonly Gpus[] | null {
  if (text === undefined) return null;
  const count = text === 'all' ? -1 : /^\d+$/.test(text) ? Number(text) : 0;
  const devices = /^"?device=([^"]+)"?$/.exec(text)?.[1]?.split(',') ?? null;
  return [{ Driver: '', Count: count, DeviceIDs: devices, Capabilities: [['gpu']], Options: {} }];
}

/** Why the text is no value of the flag, or the device with its number. */
type Read<T> = { readonly device: { Path: string } & T; readonly why?: string };

function split(text: string): { path: string; rest: string; why?: string } {
  const colon = text.indexOf(':');
  if (colon <= 0 || colon === text.length - 1) return { path: '', rest: '', why: `bad format: ${text}` };
  const path = text.slice(0, colon);
  const why = path.startsWith('/dev/') ? {} : { why: `bad format for device path: ${text}` };
  return { path, rest: text.slice(colon + 1), ...why };
}

const RATE = 'Number must be a positive integer';

/** `/dev/sda:1mb`. */
export function readBytesRate(text: string): Read<{ Rate: number }> {
  const { path, rest, why } = split(text);
  const read = readRamSize(rest);
  if (why !== undefined) return { device: { Path: '', Rate: 0 }, why };
  if (read.kind === 'size') return { device: { Path: path, Rate: read.bytes } };
  const sentence = `invalid rate for device: ${text}. The correct format is <device-path>:<number>[<unit>]. ${RATE}. Unit is optional and can be kb, mb, or gb`;
  return { device: { Path: '', Rate: 0 }, why: sentence };
}

/** `/dev/sda:100`. */
export function readCountRate(text: string): Read<{ Rate: number }> {
  const { path, rest, why } = split(text);
  if (why !== undefined) return { device: { Path: '', Rate: 0 }, why };
  if (/^\d{1,15}$/.test(rest)) return { device: { Path: path, Rate: Number(rest) } };
  const sentence = `invalid rate for device: ${text}. The correct format is <device-path>:<number>. ${RATE}`;
  return { device: { Path: '', Rate: 0 }, why: sentence };
}

/** `/dev/sda:500`, a weight from 10 to 1000, or 0. */
export function readWeight(text: string): Read<{ Weight: number }> {
  const { path, rest, why } = split(text);
  if (why !== undefined) return { device: { Path: '', Weight: 0 }, why };
  const weight = /^\d{1,4}$/.test(rest) ? Number(rest) : -1;
  if (weight === 0 || (weight >= 10 && weight <= 1000)) return { device: { Path: path, Weight: weight } };
  return { device: { Path: '', Weight: 0 }, why: `invalid weight for device: ${text}` };
}
