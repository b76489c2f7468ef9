// Resource limits. Source: include/uapi/asm-generic/resource.h, Linux 6.18; man 2 prlimit. Equal on x86-64 and arm64.
export const RLIMIT_NOFILE = 7;
/** Names as ulimit(1) and Docker say them; a name's index is its number. */
export const RLIMIT_NAMES: readonly string[] = [
  'cpu',
  'fsize',
  'data',
  'stack',
  'core',
  'rss',
  'nproc',
  'nofile',
  'memlock',
  'as',
  'locks',
  'sigpending',
  'msgqueue',
  'nice',
  'rtprio',
  'rttime',
];
