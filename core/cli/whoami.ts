// `berth whoami`: who the helper takes this user for, and by which key.
import { type Given, isOn } from './command.ts';
import type { Session } from './session.ts';

/** Prints uid, principal, profiles, key. The exit code is 1 where the helper does not answer. */
export async function whoami(session: Session, given: Given): Promise<number> {
  const who = await (await session.client()).whoami();
  if (isOn(given, 'json')) session.stdout.write(`${JSON.stringify(who, undefined, 2)}\n`);
  else {
    const profiles =
      who.profiles.length === 0 ? 'none: an administrator enrols you with berth admin enroll' : who.profiles.join(' ');
    const rows = [
      ['uid', String(who.uid)],
      ['principal', who.principal || '-'],
      ['profiles', profiles],
      ['key id', who.keyId],
      [
        'helper',
        who.helper === undefined
          ? (who.problem ?? 'does not answer')
          : `${who.helper.version}${who.rootless ? ', rootless' : ''}`,
      ],
    ] as const;
    session.stdout.write(rows.map(([name, value]) => `${name.padEnd(11)}${value}\n`).join(''));
  }
  return who.problem === undefined && who.profiles.length > 0 ? 0 : 1;
}
