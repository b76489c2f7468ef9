// Every route of the server, one line each: method, path and handler. `*` stands for a name, which may hold slashes.
import { attachContainer } from './attach.ts';
import { doctor, dryRun, explain, status, whoami } from './berth.ts';
import type { Handler } from './call.ts';
import { inspectContainer, listContainers, readLogs, waitContainer } from './container-read.ts';
import {
  killContainer,
  pauseContainer,
  removeContainer,
  renameContainer,
  resizeContainer,
  restartContainer,
  startContainer,
  stopContainer,
  unpauseContainer,
  updateContainer,
} from './containers.ts';
import { createContainer } from './create.ts';
import { streamEvents } from './events.ts';
import { createExec, inspectExec, resizeExec, startExec } from './exec.ts';
import { inspectImage, listImages, loadImages, pullImage, removeImage, tagImage } from './images.ts';
import { info, ping, version } from './system.ts';

type Route = { readonly method: string; readonly pattern: RegExp; readonly handler: Handler };

function route(method: string, path: string, handler: Handler): Route {
  return { method, pattern: new RegExp(`^${path.replace('*', '(.+)')}$`), handler };
}

const ROUTES: readonly Route[] = [
  route('GET', '/_ping', ping),
  route('HEAD', '/_ping', ping),
  route('GET', '/version', version),
  route('GET', '/info', info),
  route('GET', '/events', streamEvents),
  route('GET', '/containers/json', listContainers),
  route('POST', '/containers/create', createContainer),
  route('GET', '/containers/*/json', inspectContainer),
  route('GET', '/containers/*/logs', readLogs),
  route('POST', '/containers/*/start', startContainer),
  route('POST', '/containers/*/stop', stopContainer),
  route('POST', '/containers/*/restart', restartContainer),
  route('POST', '/containers/*/kill', killContainer),
  route('POST', '/containers/*/pause', pauseContainer),
  route('POST', '/containers/*/unpause', unpauseContainer),
  route('POST', '/containers/*/wait', waitContainer),
  route('POST', '/containers/*/rename', renameContainer),
  route('POST', '/containers/*/resize', resizeContainer),
  route('POST', '/containers/*/update', updateContainer),
  route('POST', '/containers/*/attach', attachContainer),
  route('POST', '/containers/*/exec', createExec),
  route('DELETE', '/containers/*', removeContainer),
  route('POST', '/exec/*/start', startExec),
  route('POST', '/exec/*/resize', resizeExec),
  route('GET', '/exec/*/json', inspectExec),
  route('GET', '/images/json', listImages),
  route('POST', '/images/create', pullImage),
  route('POST', '/images/load', loadImages),
  route('GET', '/images/*/json', inspectImage),
  route('POST', '/images/*/tag', tagImage),
  route('DELETE', '/images/*', removeImage),
  // Ours: what Docker has no word for.
  route('POST', '/berth/v1/explain', explain),
  route('POST', '/berth/v1/dry-run', dryRun),
  route('GET', '/berth/v1/whoami', whoami),
  route('GET', '/berth/v1/doctor', doctor),
  route('GET', '/berth/v1/status', status),
];

/** The handler of a path without its version, and what `*` stood for. */
export function findRoute(method: string, path: string): { handler: Handler; name: string } | undefined {
  for (const one of ROUTES) {
    if (one.method !== method) continue;
    const found = one.pattern.exec(path);
    if (found !== null) return { handler: one.handler, name: found[1] ?? '' };
  }
  return undefined;
}
