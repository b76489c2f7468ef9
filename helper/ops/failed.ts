// An op that was allowed and did not work: the step in words, the call, the number. It becomes the Failure of the Result.

export class Failed extends Error {
  readonly step: string;
  readonly call: string;
  readonly errno: number;
  constructor(step: string, detail: string, from: { call?: string; errno?: number; cause?: unknown } = {}) {
    super(detail, { cause: from.cause });
    this.step = step;
    this.call = from.call ?? '';
    this.errno = from.errno ?? 0;
  }
}

/** The error as a Failed: system errors keep call and number, others only their text. */
export function asFailed(step: string, error: unknown): Failed {
  if (error instanceof Failed) return error;
  if (!(error instanceof Error)) return new Failed(step, String(error));
  const { errno, syscall, call } = error as { errno?: number; syscall?: string; call?: string };
  return new Failed(step, error.message, { call: call ?? syscall ?? '', errno: Math.abs(errno ?? 0), cause: error });
}

/** Runs the op; what it throws names the step. */
export function step<T>(name: string, op: () => T): T {
  try {
    return op();
  } catch (error) {
    throw asFailed(name, error);
  }
}

/** Whether the kernel's refusal is one of these: ENOENT and the like. */
export function isRefusal(error: unknown, ...codes: string[]): boolean {
  return codes.includes((error as { code?: string }).code ?? '');
}

/** What the op gives; undefined where the kernel refuses it for one of these reasons. */
export function unless<T>(codes: readonly string[], op: () => T): T | undefined {
  try {
    return op();
  } catch (error) {
    if (isRefusal(error, ...codes)) return undefined;
    throw error;
  }
}
