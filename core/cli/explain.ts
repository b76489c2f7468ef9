// `berth explain run …`: the plan of a container that is not made, with reasons; with --dry-run also the helper's word on it.
import { printable } from '../base/printable.ts';
import type { Explained } from '../client/client.ts';
import { ApiError } from '../client/error.ts';
import { type Given, isOn, textOf } from './command.ts';
import { CREATE_FLAGS, EXPLAIN_FLAGS, RUN_FLAGS } from './container-flags.ts';
import { readBody } from './create.ts';
import { CliError } from './error.ts';
import { complain, daemonText } from './failure.ts';
import { parseFlags } from './flags.ts';
import type { Session } from './session.ts';

const ALONE = 'Without a helper: the plan as an ordinary host would have it, of an image with nothing of its own';

/** Prints the plan; the exit code is 1 when the helper would refuse it. */
export async function explainRun(session: Session, given: Given): Promise<number> {
  const [verb = '', ...words] = given.args;
  if (verb !== 'run' && verb !== 'create') {
    throw new CliError(
      `berth explain: ${JSON.stringify(verb)} cannot be explained: use 'berth explain run IMAGE …'`,
      125,
    );
  }
  const flags = verb === 'run' ? RUN_FLAGS : CREATE_FLAGS;
  const parsed = parseFlags({ flags: [...flags, ...EXPLAIN_FLAGS], stopAtWord: true }, words);
  if (parsed.kind === 'bad') throw new CliError(`${parsed.why}\n\nRun 'berth run --help' for more information`, 125);
  if (parsed.kind === 'help') throw new CliError("Run 'berth run --help' for the options of run", 0);
  const run = parsed.given;
  if (run.args.length === 0 && !run.flags.has('rootfs'))
    throw new CliError("berth: 'berth explain run' requires an image", 1);
  const asked = (name: string): boolean => isOn(given, name) || isOn(run, name);
  const body = readBody(session, run, verb);
  const ask = async (): Promise<Explained> =>
    (await session.client()).explain(body, { name: textOf(run, 'name'), dryRun: asked('dry-run') });
  const explained = await ask().catch(async (error: unknown) => {
    complain(session, `${await whyAlone(session, error)}\n${ALONE}`);
  });
  if (explained === undefined) return explainAlone(session, run, asked('json'));
  session.stdout.write(
    asked('json') ? `${JSON.stringify(explained, undefined, 2)}\n` : printable(explanationText(explained)),
  );
  return explained.decision?.allowed === false ? 1 : 0;
}

/** Why there is nobody to ask: no engine can be started, or one that serves without a helper knows neither host nor images. Throws other failures on. */
async function whyAlone(session: Session, error: unknown): Promise<string> {
  if (error instanceof CliError) return error.message;
  if (error instanceof ApiError && (await (await session.client()).status()).helper === undefined)
    return daemonText(error);
  throw error;
}

/** Where neither helper nor engine can run: what the planner says, which needs neither. The exit code is 1: nothing could be run here. */
async function explainAlone(session: Session, run: Given, json: boolean): Promise<number> {
  const { planAlone } = await import('./policy-facts.ts');
  const { explainPlan } = await import('../plan/explain.ts');
  const { planJson } = await import('../plan/json.ts');
  const { plan, host } = planAlone(session, run, process.getuid?.() ?? 0);
  session.stdout.write(json ? `${planJson(plan.launch)}\n` : printable(explainPlan(plan, host.cgroup)));
  return 1;
}

/** The plan, warnings, decision, for people. */
export function explanationText(explained: Explained): string {
  const warnings = explained.warnings.map((warning) => `WARNING: ${warning}\n`);
  const { decision } = explained;
  if (decision === undefined) return explained.text + warnings.join('');
  const reasons = decision.reasons.map(
    (one) => `  ${one.field}: asked ${one.asked}, allowed ${one.allowed} (rule ${one.rule})\n`,
  );
  const word = decision.allowed ? 'The helper allows it.\n' : 'The helper refuses it:\n';
  return `${explained.text}${warnings.join('')}\n${word}${reasons.join('')}`;
}
