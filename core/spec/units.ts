// Sizes and durations as Docker writes and reads them. Source: github.com/docker/go-units v0.5.0, size.go and duration.go.
const DECIMAL = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB', 'ZB', 'YB'];
const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB', 'ZiB', 'YiB'];
const POWER: Readonly<Record<string, number>> = { k: 1, m: 2, g: 3, t: 4, p: 5 };

export type SizeRead = { kind: 'size'; bytes: number } | { kind: 'bad'; why: string };

/** Reads `512`, `64m`, `1.5GiB` with 1024 as the base, as `-m` does. */
export function readRamSize(text: string): SizeRead {
  const split = /^(.*[0-9. ])([^0-9. ]*)$/s.exec(text);
  if (split === null) return { kind: 'bad', why: `invalid size: '${text}'` };
  const digits = (split[1] ?? '').replace(/ $/, '');
  const suffix = (split[2] ?? '').toLowerCase();
  if (!/^[+-]?(\d+\.?\d*|\.\d+)$/.test(digits)) {
    return { kind: 'bad', why: `strconv.ParseFloat: parsing ${JSON.stringify(digits)}: invalid syntax` };
  }
  const number = Number(digits);
  if (number < 0) return { kind: 'bad', why: `invalid size: '${text}'` };
  if (suffix === '' || suffix === 'b') return { kind: 'size', bytes: Math.trunc(number) };
  const power = POWER[suffix.charAt(0)];
  if (power === undefined || !['', 'b', 'ib'].includes(suffix.slice(1))) {
    return { kind: 'bad', why: `invalid suffix: '${suffix}'` };
  }
  return { kind: 'size', bytes: Math.trunc(number * 1024 ** power) };
}

/** `4.28MB`: base 1000, as `docker images` and `docker ps -s` print. `digits` counts the significant ones. */
export function decimalSize(bytes: number, digits = 3): string {
  return scaled(bytes, { units: DECIMAL, base: 1000, digits });
}

/** `23.54GiB`: base 1024, four significant digits, as `docker info` prints. */
export function binarySize(bytes: number): string {
  return scaled(bytes, { units: BINARY, base: 1024, digits: 4 });
}

function scaled(bytes: number, how: { units: readonly string[]; base: number; digits: number }): string {
  let size = bytes;
  let unit = 0;
  while (size >= how.base && unit < how.units.length - 1) {
    size /= how.base;
    unit += 1;
  }
  return `${significant(size, how.digits)}${how.units[unit]}`;
}

/** Go's `%.<digits>g`: significant digits without trailing zeros, with an exponent of two digits from 10^digits on. */
export function significant(value: number, digits: number): string {
  const text = value.toPrecision(digits);
  const [mantissa = '', exponent] = text.split('e');
  const short = mantissa.includes('.') ? mantissa.replace(/\.?0+$/, '') : mantissa;
  if (exponent === undefined) return short;
  return `${short}e${exponent.charAt(0)}${exponent.slice(1).padStart(2, '0')}`;
}

/** `About a minute`, `3 weeks`: how long ago, for people. */
export function humanDuration(ms: number): string {
  const seconds = Math.trunc(ms / 1000);
  const minutes = Math.trunc(ms / 60_000);
  const hours = Math.trunc(ms / 3_600_000 + 0.5);
  if (seconds < 1) return 'Less than a second';
  if (seconds === 1) return '1 second';
  if (seconds < 60) return `${seconds} seconds`;
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 14) return `${Math.trunc(hours / 24)} days`;
  if (hours < 24 * 60) return `${Math.trunc(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.trunc(hours / 24 / 30)} months`;
  return `${Math.trunc(Math.trunc(ms / 3_600_000) / 24 / 365)} years`;
}

const DURATION_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Reads Go's `1h30m`, `42m`, `1.5s`, `0` into milliseconds; undefined when it is no duration. Source: Go time.ParseDuration. */
export function readDuration(text: string): number | undefined {
  const sign = text.startsWith('-') ? -1 : 1;
  const rest = text.replace(/^[+-]/, '');
  if (rest === '0') return 0;
  if (!/^((\d+\.?\d*|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h))+$/.test(rest)) return undefined;
  let total = 0;
  for (const [, amount, unit] of rest.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)/g)) {
    total += Number(amount) * (DURATION_MS[unit ?? ''] ?? 0);
  }
  return sign * total;
}
