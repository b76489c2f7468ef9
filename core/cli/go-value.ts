// How Go's `%v` prints what an API answer holds. JSON no longer says which object was a struct and which a map, or of what type a null was: the
// names that were maps and pointers are listed here. Source: moby API types, v28.2 (container, network, image).
const MAPS = new Set(
  'Labels Networks Ports ExposedPorts Volumes Sysctls Tmpfs StorageOpt Annotations Config.LogConfig Data Options DriverOpts Attributes'.split(
    ' ',
  ),
);
const POINTERS = new Set(
  'Health Healthcheck Init OomKillDisable PidsLimit MemorySwappiness IPAMConfig StopTimeout'.split(' '),
);
const MAP_OR_NIL = new Set([
  'Labels',
  'Volumes',
  'ExposedPorts',
  'Sysctls',
  'Tmpfs',
  'StorageOpt',
  'Annotations',
  'DriverOpts',
  'Ports',
]);
const MOUNT_POINT = 'Type Name Source Destination Driver Mode RW Propagation'.split(' ');
/** Pointers at the end of a struct, which an answer leaves out when they are nil. */
const LAST: Readonly<Record<string, string>> = { State: 'Health' };
/** Fields that the API leaves out when empty, and what they are then. */
const LEFT_OUT: Readonly<Record<string, unknown>> = {
  ExposedPorts: {},
  Health: null,
  Healthcheck: null,
  Mounts: [],
  Name: '',
  Size: null,
  SizeRw: null,
  SizeRootFs: null,
  StopSignal: '',
  StopTimeout: null,
  Shell: [],
  Sysctls: {},
  Tmpfs: {},
  Init: null,
  Annotations: {},
};

/** The value of a field the answer lacks because it was empty; undefined when no such field is known. */
export function leftOut(name: string): unknown {
  return LEFT_OUT[name];
}

/** The text of a value; `name` is the field it came from, which tells maps from structs. */
export function goText(value: unknown, name = ''): string {
  if (value === undefined) return '<no value>';
  if (value === null) return goNil(name);
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return goNumber(value);
  if (Array.isArray(value)) return `[${value.map((one) => goElement(one, name)).join(' ')}]`;
  if (typeof value !== 'object') return String(value);
  const entries = Object.entries(value);
  if (MAPS.has(name)) {
    const sorted = entries.sort(([left], [right]) => (left < right ? -1 : 1));
    return `map[${sorted.map(([key, one]) => `${key}:${goText(one, key)}`).join(' ')}]`;
  }
  const last = LAST[name];
  const nil = last === undefined || last in value ? [] : ['<nil>'];
  return `{${[...entries.map(([key, one]) => goText(one, key)), ...nil].join(' ')}}`;
}

/** Whether a field is a map to Go: what it lacks is no value, and no fault. */
export function isMap(name: string): boolean {
  return MAPS.has(name);
}

function goNil(name: string): string {
  if (name === '' || POINTERS.has(name)) return '<nil>';
  return MAP_OR_NIL.has(name) ? 'map[]' : '[]';
}

function goElement(value: unknown, name: string): string {
  if (name !== 'Mounts' || typeof value !== 'object' || value === null) return goText(value);
  const mount: Readonly<Record<string, unknown>> = { ...value };
  return `{${MOUNT_POINT.map((key) => goText(mount[key] ?? '')).join(' ')}}`;
}

function goNumber(value: number): string {
  if (Number.isSafeInteger(value) || !Number.isFinite(value)) return String(value);
  const [mantissa = '', exponent] = String(value).split('e');
  return exponent === undefined ? mantissa : `${mantissa}e${exponent.charAt(0)}${exponent.slice(1).padStart(2, '0')}`;
}
