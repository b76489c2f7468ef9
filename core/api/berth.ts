// What Docker has no word for, on the same socket under /berth/v1: the plan and its reasons, the helper's decision, who we are, what the host lacks.
import type { Answer, Call } from './call.ts';
import { readCreate } from './create.ts';

/** `POST /berth/v1/explain?name=NAME` with a create body: the plan, nothing is made. */
export async function explain(call: Call): Promise<Answer> {
  return explained(call, false);
}

/** `POST /berth/v1/dry-run?name=NAME` with a create body: the plan, and what the helper says to it. */
export async function dryRun(call: Call): Promise<Answer> {
  return explained(call, true);
}

async function explained(call: Call, asks: boolean): Promise<Answer> {
  const body = await readCreate(call);
  const { text, json, warnings, decision } = await call.engine.explain({
    body,
    name: call.query.get('name') || undefined,
    dryRun: asks,
  });
  return {
    kind: 'json',
    status: 200,
    value: { text, plan: JSON.parse(json), warnings, decision },
  };
}

/** `GET /berth/v1/whoami`. */
export async function whoami(call: Call): Promise<Answer> {
  return { kind: 'json', status: 200, value: await call.engine.system.whoami() };
}

/** `GET /berth/v1/doctor`. */
export async function doctor(call: Call): Promise<Answer> {
  return { kind: 'json', status: 200, value: await call.engine.system.doctor() };
}

/** `GET /berth/v1/status`: which process this is, and the helper it works with. */
export async function status(call: Call): Promise<Answer> {
  const [{ Version: version }, { uid, helper, problem }] = await Promise.all([
    call.engine.system.version(),
    call.engine.system.whoami(),
  ]);
  return { kind: 'json', status: 200, value: { pid: process.pid, uid, version, helper, problem } };
}
