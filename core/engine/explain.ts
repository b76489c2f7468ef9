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
  const shown = { text: explainPlan(plan, facts.host.cgroup), json: planJson(plan.launch), warnings: plan.warnings };
  if (!dryRun) return { ...shown, decision: undefined };
  const fds = image === undefined ? [openPath(body.Rootfs ?? '')] : [];
  try {
    fds.push(...openBinds(wantedBinds({ body }), fds.length).fds);
    const { allowed, reasons } = await context.link.dryRun({ $case: 'launch', value: plan.launch }, { fds });
    return { ...shown, decision: { allowed, reasons } };
  } finally {
    closeAll(fds);
  }
}
