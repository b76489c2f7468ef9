// Intent and facts to the plan of a container: the one function behind `run`, `create`, `start` and `explain`.
import type { Launch, Root } from '../../proto/gen/berth/helper/v1/plan.ts';
import { checkProgram, type Looked, wantedLookups } from './checks.ts';
import { planDevices } from './devices.ts';
import type { Facts, ImageFacts } from './facts.ts';
import { planFiles, planNames } from './files.ts';
import { planHardening } from './hardening.ts';
import { checkEndpoints, checkFields, checkHealth, checkTexts, type Intent } from './intent.ts';
import { planLimits } from './limits.ts';
import { wantedNamespaces } from './modes.ts';
import { planMounts } from './mounts.ts';
import { planNamespaces } from './namespaces.ts';
import { imageConfig, planProcess } from './process.ts';
import { gather, type Noted, noted, notYet, type Reason, refuse } from './reason.ts';
import { parseSignal, signalName } from './signal.ts';
import { planStdio } from './stdio.ts';
import { bindSources } from './volumes.ts';

export type Plan = {
  readonly launch: Launch;
  /** The first signal of `stop`; the helper is told when it is sent. */
  readonly stopSignal: number;
  readonly reasons: readonly Reason[];
  readonly warnings: readonly string[];
};

const ROOT_IDS = 65_536;

/**
 * The plan. Total: it gives one, or throws BerthError (bad_parameter, not_implemented, program_not_found, not_executable) naming what was
 * wrong. The same intent and facts give the same plan.
 */
export function planContainer(intent: Intent, facts: Facts): Plan {
  const plan = assemble(intent, facts);
  checkProgram(looked(plan.launch, facts));
  return plan;
}

/**
 * Paths of the root that the engine should look at before it starts: call, look, add to facts.lookups, and repeat until there are none.
 * Only for a container whose writable layer is empty; later the image no longer tells what is there.
 */
export function wantedFacts(intent: Intent, facts: Facts): string[] {
  const { launch } = assemble(intent, facts);
  const targets = launch.mounts.filter((mount) => mount.source?.$case === 'bind').map((mount) => mount.target);
  const seen = looked(launch, facts);
  const outside = targets.filter((target) => !seen.targets.some((other) => target.startsWith(`${other}/`)));
  const missing = outside.filter((target) => !Object.hasOwn(facts.lookups, target));
  return [...new Set([...missing, ...wantedLookups(seen)])];
}

/** What the engine must open as the user before it plans: see volumes.ts. */
export function wantedBinds(intent: Intent): { readonly source: string; readonly create: boolean }[] {
  return bindSources(intent.body);
}

function looked(launch: Launch, facts: Facts): Looked {
  const { process: who } = launch;
  if (who === undefined) return refuse('the plan has no process');
  return { who, targets: launch.mounts.map((mount) => mount.target), facts };
}

function assemble(intent: Intent, facts: Facts): Plan {
  const { body } = intent;
  const host = body.HostConfig;
  checkFields(host);
  checkEndpoints(body);
  const health = checkHealth(body);
  checkTexts(body, 'body');
  checkTexts(imageConfig(facts), 'image');
  const wish = wantedNamespaces(host, facts);
  const names = planNames(body, facts);
  const mounts = planMounts({ body, facts, files: planFiles(body, facts, names) });
  const hardening = planHardening(host, wish);
  const { noNewPrivileges } = hardening.value;
  const program = planProcess({ body, facts, hostname: names.hostname, noNewPrivileges });
  const ids = planIds(facts, [program.value.uid, program.value.gid, ...program.value.groups]);
  const namespaces = planNamespaces(wish, ids.value);
  const devices = planDevices(host, facts);
  const { rules, nodes } = devices.value;
  const limits = planLimits({ resources: host, host: facts.host, devices: facts.devices, deviceRules: rules });
  const root = planRoot(intent, facts);
  const init = planInit(intent, wish.pid.source.kind === 'new');
  const stop = planStop(intent, facts);
  const ownUts = wish.uts.source.kind === 'new';
  const launch: Launch = {
    id: facts.id,
    root: root.value,
    mounts: mounts.value,
    process: program.value,
    namespaces: namespaces.value,
    hostname: ownUts ? names.hostname : '',
    domainname: ownUts ? names.domainname : '',
    limits: limits.value,
    hardening: hardening.value.hardening,
    devices: [...nodes],
    init: init.value,
    stdio: planContainerStdio(intent),
  };
  const first: Noted<null> = noted(null, [
    { about: 'hostname', text: ownUts ? names.why : 'not set: the UTS namespace is shared' },
  ]);
  const userIds = wish.user.source.kind === 'new' ? [ids] : [];
  const notes = gather([
    root,
    namespaces,
    ...userIds,
    first,
    mounts,
    devices,
    limits,
    hardening,
    program,
    init,
    stop,
    health,
  ]);
  return { launch, stopSignal: stop.value, ...notes };
}

function planRoot(intent: Intent, facts: Facts): Noted<Root> {
  const readOnly = intent.body.HostConfig.ReadonlyRootfs;
  const text = readOnly ? '--read-only' : 'writable: changes go to a layer of its own';
  const reason = { about: 'root', text };
  if (facts.root.kind === 'directory') {
    const source = { $case: 'directory' as const, value: { descriptor: facts.root.descriptor } };
    return noted({ source, readOnly }, [
      { ...reason, text: `--rootfs ${facts.root.path}, ${readOnly ? text : 'written in place'}` },
    ]);
  }
  return noted({ source: { $case: 'image', value: { layers: topmostFirst(facts.root) } }, readOnly }, [reason]);
}

/** The overlay takes the leftmost lower first, an image lists its lowest first. */
function topmostFirst(image: ImageFacts): string[] {
  if (image.layers.length === 0) refuse('the image has no layers: there is nothing to run');
  return image.layers.toReversed();
}

/** Enough ids for the image's owners and the process: whole blocks of 65,536, or the one id that a rootless user has. */
function planIds(facts: Facts, used: readonly number[]): Noted<bigint> {
  const { uidCountMax, rootless } = facts.host;
  const image = facts.root.kind === 'image' ? facts.root : undefined;
  if (rootless && uidCountMax < ROOT_IDS) {
    const strange = used.find((id) => id >= uidCountMax);
    if (strange !== undefined) {
      refuse(
        `id ${strange} cannot be used: this user has ${uidCountMax === 1 ? 'one id only' : `${uidCountMax} ids`}`,
        'rootless: have a range in /etc/subuid and /etc/subgid, and newuidmap installed',
      );
    }
    return noted(BigInt(uidCountMax), [
      { about: 'ids', text: 'all that this user has; foreign owners are recorded beside' },
    ]);
  }
  const highest = Math.max(image?.highestUid ?? 0, image?.highestGid ?? 0, ...used);
  const count = Math.max(1, Math.ceil((highest + 1) / ROOT_IDS)) * ROOT_IDS;
  if (count > uidCountMax) {
    const whose = used.includes(highest) ? 'the process asks for' : 'a file of the image has';
    refuse(`${whose} id ${highest}: at most ${uidCountMax} ids can be mapped here`);
  }
  const why = count === ROOT_IDS ? 'the usual range' : `wide enough for id ${highest}`;
  return noted(BigInt(count), [{ about: 'ids', text: why }]);
}

function planInit(intent: Intent, ownPids: boolean): Noted<boolean> {
  if (intent.body.HostConfig.Init !== true) {
    return noted(false, [{ about: 'init', text: "PID 1 is the user's program" }]);
  }
  if (ownPids) return noted(true, [{ about: 'init', text: '--init: PID 1 reaps and forwards signals' }]);
  return noted(false, [{ about: 'init', text: '--init without effect: the pid namespace has an init already' }]);
}

const SIGTERM = 'SIGTERM';

function planStop(intent: Intent, facts: Facts): Noted<number> {
  const own = intent.body.StopSignal ?? '';
  const image = imageConfig(facts).stopSignal;
  const value = parseSignal(own !== '' ? own : image !== '' ? image : SIGTERM);
  const text = own !== '' ? '--stop-signal' : image !== '' ? 'STOPSIGNAL of the image' : 'the default';
  return noted(value, [{ about: 'stop', text: `${signalName(value)}: ${text}` }]);
}

function planContainerStdio({ body }: Intent): Launch['stdio'] {
  if (body.NetworkDisabled === true) notYet('NetworkDisabled: use --network=none');
  return planStdio({ tty: body.Tty, stdin: body.OpenStdin, size: body.HostConfig.ConsoleSize ?? [] });
}
