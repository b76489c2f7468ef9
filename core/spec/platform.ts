// Operating system, architecture and variant: reading `linux/arm64/v8`, and which of an index's images fits a machine best.
// Source: github.com/containerd/platforms v1.0, platforms.go, database.go, compare.go.
import { BerthError } from '../base/errors.ts';

/** `variant` is '' where the architecture's usual one is meant: arm64's v8, amd64's v1. */
export type Platform = { readonly os: string; readonly architecture: string; readonly variant: string };

const ARCHITECTURES: Readonly<Record<string, string>> = {
  aarch64: 'arm64',
  x86_64: 'amd64',
  'x86-64': 'amd64',
  i386: '386',
  i486: '386',
  i586: '386',
  i686: '386',
  armhf: 'arm/v7',
  armel: 'arm/v6',
};
const KNOWN =
  /^(386|amd64|arm|arm64|loong64|mips|mipsle|mips64|mips64le|ppc|ppc64|ppc64le|riscv64|s390|s390x|sparc64|wasm)$/;
const SYSTEMS = /^(aix|android|darwin|dragonfly|freebsd|illumos|ios|js|linux|netbsd|openbsd|plan9|solaris|windows)$/;

/** The same platform always as the same value: other spellings and needless variants are removed. */
export function normalPlatform(platform: Platform): Platform {
  const os = platform.os.toLowerCase() === 'macos' ? 'darwin' : platform.os.toLowerCase();
  const given = platform.architecture.toLowerCase();
  const [architecture = '', implied = ''] = (ARCHITECTURES[given] ?? given).split('/');
  const variant = platform.variant.toLowerCase() || implied;
  const plain = /^\d$/.test(variant) ? `v${variant}` : variant;
  if (architecture === 'arm') return { os, architecture, variant: plain || 'v7' };
  const usual = { arm64: 'v8', amd64: 'v1' }[architecture];
  return { os, architecture, variant: plain === usual ? '' : plain };
}

/** Reads `linux/arm64/v8`, `linux/amd64`, `arm64` or `linux`, completed from `host`. Throws bad_parameter with containerd's messages. */
export function parsePlatform(text: string, host: Platform): Platform {
  const parts = text.split('/');
  const bad = parts.find((part) => !/^[A-Za-z0-9_.-]+$/.test(part));
  if (bad !== undefined) {
    const why = 'platform specifier component must match "^[A-Za-z0-9_.-]+$"';
    throw new BerthError('bad_parameter', `"${bad}" is an invalid component of "${text}": ${why}: invalid argument`);
  }
  const [first = '', second = '', third = ''] = parts;
  if (parts.length > 3) {
    throw new BerthError('bad_parameter', `"${text}": cannot parse platform specifier: invalid argument`);
  }
  if (parts.length > 1) return normalPlatform({ os: first, architecture: second, variant: third });
  if (SYSTEMS.test(first.toLowerCase())) return normalPlatform({ ...host, os: first });
  const alone = normalPlatform({ os: host.os, architecture: first, variant: '' });
  if (KNOWN.test(alone.architecture)) return alone;
  throw new BerthError('bad_parameter', `"${text}": unknown operating system or architecture: invalid argument`);
}

/** `linux/arm/v7`. */
export function platformText(platform: Platform): string {
  return `${platform.os}/${platform.architecture}${platform.variant === '' ? '' : `/${platform.variant}`}`;
}

/** How well a machine of `want` runs an image of `have`: 0 is exact, more is an older variant, undefined is not at all. */
export function platformRank(want: Platform, have: Platform): number | undefined {
  const [a, b] = [normalPlatform(want), normalPlatform(have)];
  if (a.os !== b.os || a.architecture !== b.architecture) return undefined;
  if (a.variant === b.variant) return 0;
  const usual: Readonly<Record<string, number>> = { arm64: 8, amd64: 1, arm: 7 };
  const level = (variant: string): number =>
    variant === '' ? (usual[a.architecture] ?? Number.NaN) : Number(/^v(\d+)$/.exec(variant)?.[1]);
  const older = level(a.variant) - level(b.variant);
  return older > 0 ? older : undefined;
}
