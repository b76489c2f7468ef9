// Intent and facts to the plan of a further process in a running container.
import type { Exec } from '../../proto/gen/berth/helper/v1/request.ts';
import type { Facts } from './facts.ts';
import { planSeccomp } from './hardening.ts';
import { checkTexts, type ExecIntent } from './intent.ts';
import { planProcess } from './process.ts';
import type { Reason } from './reason.ts';
import { planStdio } from './stdio.ts';

/** `execId`: random; `hostname`: the container's, as it was started. */
export type ExecFacts = { readonly facts: Facts; readonly execId: string; readonly hostname: string };

export type ExecPlan = {
  readonly exec: Exec;
  readonly reasons: readonly Reason[];
  readonly warnings: readonly string[];
};

/**
 * The plan. What the exec does not say is the container's: user, directory, environment, limits, seccomp. Whether the program is there is
 * not looked at: only the container knows by now. Throws bad_parameter. Source: moby, daemon/exec.go and daemon/exec_linux.go.
 */
export function planExec(intent: ExecIntent, { facts, execId, hostname }: ExecFacts): ExecPlan {
  const { exec, body } = intent;
  checkTexts(exec, 'exec');
  const seccomp = planSeccomp(body.HostConfig);
  const program = planProcess({ body, facts, exec, hostname, noNewPrivileges: seccomp.noNewPrivileges });
  return {
    exec: {
      container: facts.id,
      id: execId,
      process: program.value,
      hardening: { seccomp: seccomp.value, maskedPaths: [], readOnlyPaths: [], sysctls: [] },
      stdio: planStdio({ tty: exec.Tty, stdin: exec.AttachStdin, size: exec.ConsoleSize ?? [] }),
    },
    reasons: [...program.reasons, ...seccomp.reasons],
    warnings: program.warnings,
  };
}
