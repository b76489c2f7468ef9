// `berth explain run …`: the plan of a container that is not made, in words and as JSON, and the helper's decision if asked.
import { wantedBinds } from '../plan/container.ts';
import { explainPlan } from '../plan/explain.ts';
import { planJson } from '../plan/json.ts';
import { openPath } from '../sys/fd.ts';
import { closeAll, openBinds } from './binds.ts';
import type { Context } from './context.ts';
import { planNew } from './create.ts';
import type { ExplainRequest, Explanation } from './engine.ts';

/** Throws what a create would. */
export async function explain(context: Context, { body, dryRun }: ExplainRequest): Promise<Explanation> {
  const { plan, facts, image } = await planNew(context, body);
  const shown = { text: explainPlan(plan, facts.host.cgroup), json: planJson(plan.launch) };
  if (!dryRun) return { ...shown, warnings: plan.warnings, decision: undefined };
  const fds = image === undefined ? [openPath(body.Rootfs ?? '')] : [];
  try {
    const binds = openBinds(wantedBinds({ body }), fds.length, false);
    fds.push(...binds.fds);
    const said = binds.standIns.map(
      ({ source, at }) => `${source} is not there, a run would make it: what is decided about it here is about ${at}`,
    );
    const warnings = [...plan.warnings, ...said];
    const { allowed, reasons } = await context.link.dryRun({ $case: 'launch', value: plan.launch }, { fds });
    return { ...shown, warnings, decision: { allowed, reasons } };
  } finally {
    closeAll(fds);
  }
}
