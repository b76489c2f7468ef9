// Reads the values of flags, with Docker's sentences where one is wrong. Sources: docker/cli 28.2 opts/*.go; docker/go-units ulimit.go; Go strconv.
import { readDuration, readRamSize } from '../spec/units.ts';
import { type Flag, isTrue } from './command.ts';
import { readBytesRate, readCountRate, readWeight } from './device-flags.ts';

/** Why a value cannot be this flag's; undefined when it can. */
export function checkValue(flag: Pick<Flag, 'name' | 'kind'>, text: string): string | undefined {
  const own = BY_NAME[flag.name];
  if (own !== undefined && flag.kind !== 'string' && flag.kind !== 'bool') return own(text);
  switch (flag.kind) {
    case 'bool':
      return isTrue(text) || ['0', 'f', 'F', 'false', 'FALSE', 'False'].includes(text)
        ? undefined
        : syntax('ParseBool', text);
    case 'int':
      return checkWhole(text, { call: 'ParseInt', min: -(2n ** 63n), max: 2n ** 63n - 1n });
    case 'uint16':
      return checkWhole(text, { call: 'ParseUint', min: 0n, max: 65535n });
    case 'bytes':
      return checkSize(text);
    case 'decimal':
      return readNanoCpus(text).why;
    case 'duration':
      return readDuration(text) === undefined ? `time: invalid duration ${JSON.stringify(text)}` : undefined;
    case 'ulimit':
      return readUlimit(text).why;
    default:
      return undefined;
  }
}

const BY_NAME: Readonly<Record<string, (text: string) => string | undefined>> = {
  'add-host': (text) => (/^[^:=]+[:=].+$/.test(text) ? undefined : `bad format for add-host: ${JSON.stringify(text)}`),
  attach: (text) =>
    ['stdin', 'stdout', 'stderr'].includes(text.toLowerCase())
      ? undefined
      : 'valid streams are STDIN, STDOUT and STDERR',
  'blkio-weight-device': (text) => readWeight(text).why,
  'device-cgroup-rule': (text) =>
    /^[acb] (\d+|\*):(\d+|\*) [rwm]{1,3}$/.test(text) ? undefined : `invalid device cgroup format '${text}'`,
  'device-read-bps': (text) => readBytesRate(text).why,
  'device-read-iops': (text) => readCountRate(text).why,
  'device-write-bps': (text) => readBytesRate(text).why,
  'device-write-iops': (text) => readCountRate(text).why,
  dns: (text) => (isAddress(text.trim()) ? undefined : `IP address is not correctly formatted: ${text}`),
  env: (text) => (text === '' || text.startsWith('=') ? `invalid environment variable: ${text}` : undefined),
  filter: (text) => (text === '' || text.includes('=') ? undefined : 'bad format of filter (expected name=value)'),
  label: (text) => (text === '' || text.startsWith('=') ? `invalid label '${text}': empty name` : undefined),
  'memory-swap': (text) => (text === '-1' ? undefined : checkSize(text)),
  mount: (text) => readMount(text).why,
  sysctl: (text) => (SYSCTLS.test(text) ? undefined : `sysctl '${text}' is not allowed`),
};

/** An IPv4 or IPv6 address as Go's net.ParseIP takes it. */
function isAddress(text: string): boolean {
  if (/^\d+(\.\d+){3}$/.test(text))
    return text.split('.').every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256);
  return /^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*$/.test(text) && URL.canParse(`http://[${text}]/`);
}

const SYSCTLS = /^(kernel\.(msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced)|(net|fs\.mqueue)\.[^=]*)=/;

function checkSize(text: string): string | undefined {
  const read = readRamSize(text);
  return read.kind === 'bad' ? read.why : undefined;
}

function syntax(call: string, text: string): string {
  return `strconv.${call}: parsing ${JSON.stringify(text)}: invalid syntax`;
}

function checkWhole(text: string, range: { call: string; min: bigint; max: bigint }): string | undefined {
  const sign = range.min < 0n ? '[+-]?' : '';
  if (!new RegExp(`^${sign}(\\d+|0[xX][0-9a-fA-F]+)$`).test(text)) return syntax(range.call, text);
  const value = text.startsWith('-') ? -BigInt(text.slice(1)) : BigInt(text.replace('+', ''));
  if (value >= range.min && value <= range.max) return undefined;
  return `strconv.${range.call}: parsing ${JSON.stringify(text)}: value out of range`;
}

/** Reads `--cpus`: processors (`1.5`, `3/2`, `15e-1`) as a whole number of 10^-9 processors. Source: Go math/big, Rat.SetString. */
export function readNanoCpus(text: string): { nano: number; why?: string } {
  const match = /^([+-]?)(?:(\d+)\/(\d+)|(\d+\.?\d*|\.\d+)(?:[eE]([+-]?\d{1,3}))?)$/.exec(text);
  const [, sign, above, below = '1', decimal = '', exponent = '0'] = match ?? [];
  if (match === null || BigInt(below) === 0n) return { nano: 0, why: `failed to parse ${text} as a rational number` };
  const [whole = '', fraction = ''] = decimal.split('.');
  const shift = 9 + Number(exponent) - fraction.length;
  const above9 = BigInt(above ?? `${whole}${fraction}`) * 10n ** BigInt(Math.max(0, above === undefined ? shift : 9));
  const divisor = BigInt(below) * 10n ** BigInt(Math.max(0, above === undefined ? -shift : 0));
  if (above9 % divisor !== 0n) return { nano: 0, why: 'value is too precise' };
  return { nano: Number(above9 / divisor) * (sign === '-' ? -1 : 1) };
}

const ULIMITS = 'core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'.split(
  ' ',
);

/** Reads `--ulimit name=soft[:hard]`; -1 is unlimited. */
export function readUlimit(text: string): { name: string; soft: number; hard: number; why?: string } {
  const none = { name: '', soft: 0, hard: 0 };
  const equals = text.indexOf('=');
  if (equals < 0) return { ...none, why: `invalid ulimit argument: ${text}` };
  const name = text.slice(0, equals);
  if (!ULIMITS.includes(name)) return { ...none, why: `invalid ulimit type: ${name}` };
  const limits = text.slice(equals + 1).split(':');
  if (limits.length > 2)
    return {
      ...none,
      why: `too many limit value arguments - ${text.slice(equals + 1)}, can only have up to two, \`soft[:hard]\``,
    };
  const bad = limits.find((one) => !/^[+-]?\d+$/.test(one));
  if (bad !== undefined) return { ...none, why: syntax('ParseInt', bad) };
  const soft = Number(limits[0]);
  const hard = Number(limits[1] ?? limits[0]);
  if (hard !== -1 && (soft > hard || soft === -1)) {
    return { ...none, why: `ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}` };
  }
  return { name, soft, hard };
}

/** One `--mount`, in the words of Docker's API. */
export type MountRead = {
  Type: string;
  Source?: string;
  Target: string;
  ReadOnly?: boolean;
  Consistency?: string;
  BindOptions?: {
    Propagation?: string;
    NonRecursive?: boolean;
    CreateMountpoint?: boolean;
    ReadOnlyNonRecursive?: boolean;
    ReadOnlyForceRecursive?: boolean;
  };
  VolumeOptions?: {
    NoCopy?: boolean;
    Labels?: Record<string, string>;
    DriverConfig?: { Name?: string; Options?: Record<string, string> };
    Subpath?: string;
  };
  TmpfsOptions?: { SizeBytes?: number; Mode?: number };
};

type MountField = (mount: MountRead, value: string, key: string) => string | undefined;

/** Reads `--mount type=bind,src=/a,dst=/b,readonly`, one line of CSV. */
export function readMount(text: string): { mount: MountRead; why?: string } {
  const mount: MountRead = { Type: 'volume', Target: '' };
  for (const field of splitCsv(text)) {
    const equals = field.indexOf('=');
    const key = (equals < 0 ? field : field.slice(0, equals)).toLowerCase();
    const value = equals < 0 ? 'true' : field.slice(equals + 1);
    if (equals < 0 && !MOUNT_SWITCHES.includes(key))
      return { mount, why: `invalid field '${field}' must be a key=value pair` };
    const read = MOUNT_FIELDS[key];
    if (read === undefined) return { mount, why: `unexpected key '${key}' in '${field}'` };
    const why = read(mount, value, key);
    if (why !== undefined) return { mount, why };
  }
  if (mount.Target === '') return { mount, why: 'target is required' };
  const { Type: type } = mount;
  if (mount.VolumeOptions !== undefined && type !== 'volume')
    return { mount, why: `cannot mix 'volume-*' options with mount type '${type}'` };
  if (mount.BindOptions !== undefined && type !== 'bind')
    return { mount, why: `cannot mix 'bind-*' options with mount type '${type}'` };
  if (mount.TmpfsOptions !== undefined && type !== 'tmpfs')
    return { mount, why: `cannot mix 'tmpfs-*' options with mount type '${type}'` };
  return { mount };
}

const MOUNT_SWITCHES = ['readonly', 'ro', 'volume-nocopy', 'bind-nonrecursive', 'bind-create-src'];

function onOff(set: (mount: MountRead, on: boolean) => void): MountField {
  return (mount, value, key) => {
    if (checkValue({ name: key, kind: 'bool' }, value) !== undefined) return `invalid value for ${key}: ${value}`;
    set(mount, isTrue(value));
    return undefined;
  };
}

function plain(set: (mount: MountRead, value: string) => void): MountField {
  return (mount, value) => {
    set(mount, value);
    return undefined;
  };
}

const target = plain((mount, value) => {
  mount.Target = value;
});
const source = plain((mount, value) => {
  mount.Source = value;
});
const readonly = onOff((mount, on) => {
  mount.ReadOnly = on;
});

const MOUNT_FIELDS: Readonly<Record<string, MountField>> = {
  type: plain((mount, value) => {
    mount.Type = value.toLowerCase();
  }),
  source,
  src: source,
  target,
  dst: target,
  destination: target,
  readonly,
  ro: readonly,
  consistency: plain((mount, value) => {
    mount.Consistency = value.toLowerCase();
  }),
  'bind-propagation': plain((mount, value) => {
    mount.BindOptions = { ...mount.BindOptions, Propagation: value.toLowerCase() };
  }),
  'bind-nonrecursive': onOff((mount, on) => {
    mount.BindOptions = { ...mount.BindOptions, NonRecursive: on };
  }),
  'bind-create-src': onOff((mount, on) => {
    mount.BindOptions = { ...mount.BindOptions, CreateMountpoint: on };
  }),
  'bind-recursive': (mount, value) => {
    if (!['enabled', 'disabled', 'writable', 'readonly'].includes(value)) {
      return `invalid value for bind-recursive: ${value} (must be "enabled", "disabled", "writable", or "readonly")`;
    }
    const more = {
      disabled: { NonRecursive: true },
      writable: { ReadOnlyNonRecursive: true },
      readonly: { ReadOnlyForceRecursive: true },
      enabled: {},
    };
    mount.BindOptions = { ...mount.BindOptions, ...more[value as keyof typeof more] };
    return undefined;
  },
  'volume-nocopy': onOff((mount, on) => {
    mount.VolumeOptions = { ...mount.VolumeOptions, NoCopy: on };
  }),
  'volume-subpath': plain((mount, value) => {
    mount.VolumeOptions = { ...mount.VolumeOptions, Subpath: value };
  }),
  'volume-driver': plain((mount, value) => {
    mount.VolumeOptions = {
      ...mount.VolumeOptions,
      DriverConfig: { ...mount.VolumeOptions?.DriverConfig, Name: value },
    };
  }),
  'tmpfs-size': (mount, value) => {
    const read = readRamSize(value);
    if (read.kind === 'bad') return `invalid value for tmpfs-size: ${value}`;
    mount.TmpfsOptions = { ...mount.TmpfsOptions, SizeBytes: read.bytes };
    return undefined;
  },
  'tmpfs-mode': (mount, value) => {
    if (!/^[0-7]+$/.test(value)) return `invalid value for tmpfs-mode: ${value}`;
    mount.TmpfsOptions = { ...mount.TmpfsOptions, Mode: Number.parseInt(value, 8) };
    return undefined;
  },
};

/** Splits one line of comma-separated values; a field in double quotes may hold commas, `""` in it is a quote. */
export function splitCsv(text: string): string[] {
  const fields: string[] = [];
  for (const match of text.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)) {
    fields.push(match[1] === undefined ? (match[2] ?? '') : match[1].replaceAll('""', '"'));
  }
  return fields;
}
