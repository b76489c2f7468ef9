// Makes the engine of one user: opens his state, connects to the helper, takes over what runs.
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { keyId } from '../../proto/sign/envelope.ts';
import { asContainerId } from '../base/brand.ts';
import { loadKey } from '../link/key.ts';
import { makeLink } from '../link/link.ts';
import type { Place } from '../link/session.ts';
import { openStore, type Store } from '../store/open.ts';
import { closeFd } from '../sys/fd.ts';
import { type Container, type ContainerRecord, makeContainer } from './container.ts';
import { makeContainers } from './containers.ts';
import { type Context, flush } from './context.ts';
import type { Engine } from './engine.ts';
import { makeEvents } from './events.ts';
import { makeExecs } from './exec.ts';
import { explain } from './explain.ts';
import { makeImageFiles } from './image-files.ts';
import { makeImages } from './images.ts';
import { makeLayers } from './layers.ts';
import { makePump } from './pump.ts';
import { makeWatcher, type World } from './reconcile.ts';
import { spoolRoot } from './pull.ts';
import { makeSystem } from './system.ts';

export type EngineParts = {
  /** The user's state directory: database, key, logs, spool. */
  readonly dir: string;
  readonly helper: Place;
  readonly insecureRegistries: readonly string[];
  readonly log: (line: string) => void;
};

/** `settled`: resolves when what runs was taken over for the first time. */
export type Made = { readonly engine: Engine; readonly settled: Promise<void> };

/** Opens everything. Throws conflict when another engine holds the state, store_damaged. */
export function makeEngine(parts: EngineParts): Made {
  const { dir, log } = parts;
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const store = openStore(dir);
  rmSync(spoolRoot(dir), { recursive: true, force: true });
  const key = loadKey(join(dir, 'key.pem'));
  let world: World | undefined;
  let settle = (): void => {};
  const settled = new Promise<void>((resolve) => {
    settle = resolve;
  });
  const known = (): World => {
    if (world === undefined) throw new Error('an event came before the engine was made');
    return world;
  };
  const link = makeLink(
    parts.helper,
    key,
    makeWatcher(known, () => settle()),
  );
  const context: Context = {
    link,
    store,
    pump: makePump(),
    events: makeEvents(),
    imageFiles: makeImageFiles(link),
    containers: loadContainers(store),
    dir,
    log,
    unsaved: new Set(),
  };
  removeStrayLogs(context);
  const execs = makeExecs(context);
  world = { context, execs };
  const layers = makeLayers({ link, store, log });
  void settled.then(() => layers.drop()).catch((error: unknown) => log(`layers: ${String(error)}`));
  const engine: Engine = {
    containers: makeContainers(context),
    exec: execs.verbs,
    images: makeImages({ context, layers, insecureRegistries: parts.insecureRegistries }),
    system: makeSystem({ context, keyId: keyId(key.publicKey), insecureRegistries: parts.insecureRegistries }),
    explain: (request) => explain(context, request),
    events: { subscribe: context.events.subscribe },
    close: async () => closeEngine(context),
  };
  return { engine, settled };
}

function loadContainers(store: Store): Map<Container['record']['id'], Container> {
  return new Map([...store.containers].map(([id, { document }]) => [id, makeContainer(document as ContainerRecord)]));
}

/** Output of containers that were removed while a slow reader still had it open. */
function removeStrayLogs(context: Context): void {
  const root = join(context.dir, 'logs');
  mkdirSync(root, { recursive: true, mode: 0o700 });
  for (const name of readdirSync(root)) {
    const id = asContainerId(name);
    if (id === undefined || !context.containers.has(id)) rmSync(join(root, name), { recursive: true, force: true });
  }
}

/** Containers run on; their output waits in the pipes. */
function closeEngine(context: Context): void {
  flush(context);
  context.link.close();
  context.pump.close();
  context.imageFiles.close();
  for (const container of context.containers.values()) {
    clearTimeout(container.restartTimer);
    if (container.input !== undefined) closeFd(container.input);
    container.input = undefined;
    container.terminal = undefined;
  }
  context.store[Symbol.dispose]();
}
