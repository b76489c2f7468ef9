// ENTRYPOINT and CMD, of the image and of the user, to one argument vector.
import { type Noted, noProgram, noted, refuse } from './reason.ts';

/** Absent and empty differ: an empty list of the user takes the image's away. */
export type Words = readonly string[] | undefined;
export type ArgvAsked = {
  readonly image: { readonly entrypoint: Words; readonly cmd: Words };
  readonly user: { readonly entrypoint: Words; readonly cmd: Words };
};

/**
 * The argument vector. The shell forms of a Dockerfile are lists of /bin/sh, -c and the text by then, so that nothing here is a shell's.
 * A user's entrypoint drops the image's CMD; `--entrypoint ""` (a list of one empty word) leaves the user's words alone.
 * Source: moby v28, daemon/commit.go merge and daemon/container.go getEntrypointAndArgs; every cell is in argv.test.ts.
 */
export function planArgv(asked: ArgvAsked): Noted<string[]> {
  const { image, user } = asked;
  const ownEntrypoint = user.entrypoint !== undefined;
  const takesImageCmd = (user.entrypoint ?? []).length === 0 && (user.cmd ?? []).length === 0;
  const entrypoint = user.entrypoint ?? image.entrypoint ?? [];
  const cmd = (takesImageCmd ? image.cmd : user.cmd) ?? [];
  const reset = entrypoint.length === 0 || (entrypoint.length === 1 && entrypoint[0] === '');
  const argv = reset ? [...cmd] : [...entrypoint, ...cmd];
  if (argv.length === 0) refuse('No command specified');
  if (argv[0] === '') noProgram('', 'the first word of the command is empty');
  const first = reset ? 'no ENTRYPOINT' : `ENTRYPOINT of the ${ownEntrypoint ? 'user' : 'image'}`;
  const rest = cmd.length === 0 ? 'no CMD' : takesImageCmd ? 'CMD of the image' : 'words of the user instead of CMD';
  return noted(argv, [{ about: 'argv', text: `${first}, ${rest}` }]);
}
