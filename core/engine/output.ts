// A container's log: where it lies, how large it may grow, and what of it a client asks for.
import { join } from 'node:path';
import { BerthError } from '../base/errors.ts';
import type { ContainerCreateBody } from '../spec/docker-api.ts';
import { readRamSize } from '../spec/units.ts';
import type { Container } from './container.ts';
import type { Context } from './context.ts';
import type { Logs, LogsQuery } from './engine.ts';
import { type Log, openLog } from './log.ts';
import { LOG_DEFAULTS, type LogLimits } from './log-file.ts';
import { readLog } from './log-read.ts';

export function logDir(context: Context, id: string): string {
  return join(context.dir, 'logs', id);
}

/** The container's log, opened once. */
export function logOf(context: Context, container: Container): Log {
  container.log ??= openLog(logDir(context, container.record.id), logLimits(container.record.body));
  return container.log;
}

const SEGMENT_BYTES_LEAST = 1 << 16;

/**
 * --log-driver and --log-opt. Ours is json-file and local to all who ask; `none` keeps just enough for those attached. Throws bad_parameter.
 * Source: moby daemon/logger/jsonfilelog, options max-size and max-file.
 */
export function logLimits(body: ContainerCreateBody): LogLimits {
  const { Type: type, Config: config } = body.HostConfig.LogConfig;
  if (!['', 'json-file', 'local', 'none'].includes(type)) {
    throw new BerthError('bad_parameter', `logger: no log driver named '${type}' is registered`, {
      hint: 'known are json-file, local and none',
    });
  }
  if (type === 'none') return { segmentBytes: SEGMENT_BYTES_LEAST, segments: 1 };
  const options = config ?? {};
  const known = [
    'max-size',
    'max-file',
    'compress',
    'mode',
    'tag',
    'labels',
    'labels-regex',
    'env',
    'env-regex',
    'max-buffer-size',
  ];
  const strange = Object.keys(options).find((name) => !known.includes(name));
  if (strange !== undefined)
    throw new BerthError('bad_parameter', `unknown log opt '${strange}' for ${type || 'json-file'} log driver`);
  const size = options['max-size'] === undefined ? undefined : readRamSize(options['max-size']);
  if (size?.kind === 'bad') throw new BerthError('bad_parameter', `invalid value for max-size: ${size.why}`);
  const files = Number(options['max-file'] ?? LOG_DEFAULTS.segments);
  if (!Number.isInteger(files) || files < 1)
    throw new BerthError('bad_parameter', `invalid value for max-file: ${options['max-file']}: it must be at least 1`);
  return { segmentBytes: Math.max(SEGMENT_BYTES_LEAST, size?.bytes ?? LOG_DEFAULTS.segmentBytes), segments: files };
}

/** What the container printed. Throws not_implemented for the driver `none`, as Docker. */
export function readLogs(context: Context, container: Container, query: LogsQuery): Logs {
  const { body, state } = container.record;
  if (!query.stdout && !query.stderr)
    throw new BerthError('bad_parameter', 'Bad parameters: you must choose at least one stream');
  if (body.HostConfig.LogConfig.Type === 'none')
    throw new BerthError('not_implemented', 'configured logging driver does not support reading');
  const log = logOf(context, container);
  // A terminal has one stream.
  const streams = body.Tty ? { stdout: true, stderr: true } : {};
  const runs = state.kind === 'running' || container.flow !== undefined;
  return {
    tty: body.Tty,
    chunks: readLog(log, { ...query, ...streams, follow: query.follow && runs ? log.run : undefined }),
  };
}
