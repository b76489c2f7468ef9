// What a command of the CLI is: its words, its flags, and the module that does it. Parser, help and dispatch all read this one shape.
import type { Session } from './session.ts';

/** How a flag's value reads. The word is also what `--help` prints beside the flag, unless `shown` says otherwise. */
export type FlagKind =
  | 'bool'
  | 'bytes'
  | 'decimal'
  | 'duration'
  | 'int'
  | 'list'
  | 'map'
  | 'string'
  | 'uint16'
  | 'ulimit';

export type Flag = {
  readonly name: string;
  readonly short?: string;
  readonly kind: FlagKind;
  /** Kinds that repeat: every value is kept, else the last one counts. `list`, `map` and `ulimit` always do. */
  readonly help: string;
  /** Printed in `--help` as `(default …)`. */
  readonly preset?: string;
  /** The word beside the flag in `--help` where it is not the kind. */
  readonly shown?: string;
  readonly hidden?: true;
  /** Said whenever it is given: `Flag --time has been deprecated, …`. */
  readonly deprecated?: string;
};

/** What the user gave: every value of every flag, in order, and the words that are not flags. */
export type Given = {
  readonly flags: ReadonlyMap<string, readonly string[]>;
  readonly args: readonly string[];
};

/** Does the command and gives the process's exit code. Throws BerthError or CliError for a sentence on stderr. */
export type Handler = (session: Session, given: Given) => Promise<number>;

export type Command = {
  /** The words that name it, `['system', 'up']`. The first is the one help prints; further ones are other names of the same command. */
  readonly names: readonly (readonly string[])[];
  /** What follows the name in the usage line, `[OPTIONS] IMAGE [COMMAND] [ARG...]`. */
  readonly usage: string;
  readonly summary: string;
  readonly flags: readonly Flag[];
  /** How many words it takes; `max` absent: any number. `unless`: a flag that stands in for the first word. */
  readonly words: { readonly min: number; readonly max?: number; readonly unless?: string };
  /** Flags end at the first word, because what follows is another program's command line. */
  readonly stopAtWord?: true;
  readonly hidden?: true;
  readonly load: () => Promise<Handler>;
};

/** Whether a bool flag is set; the last one counts, `--rm=false` unsets. */
export function isOn(given: Given, name: string): boolean {
  const value = given.flags.get(name)?.at(-1);
  return value !== undefined && isTrue(value);
}

/** The value of a flag that was given, the last one; undefined when it was not given (an empty text was). */
export function textOf(given: Given, name: string): string | undefined {
  return given.flags.get(name)?.at(-1);
}

/** Every value of a repeatable flag, in the order given. */
export function listOf(given: Given, name: string): readonly string[] {
  return given.flags.get(name) ?? [];
}

/** The words Go's strconv.ParseBool calls true. */
export function isTrue(text: string): boolean {
  return ['1', 't', 'T', 'true', 'TRUE', 'True'].includes(text);
}
