// What the engine tells about itself.
import type { Answer, Call } from './call.ts';

const FRESH = {
  'Cache-Control': 'no-cache, no-store, must-revalidate',
  Pragma: 'no-cache',
  'Builder-Version': '1',
  Swarm: 'inactive',
};

/** `GET /_ping`, `HEAD /_ping`. */
export async function ping(call: Call): Promise<Answer> {
  return { kind: 'text', status: 200, text: call.method === 'HEAD' ? '' : 'OK', headers: FRESH };
}

/** `GET /version`. */
export async function version(call: Call): Promise<Answer> {
  return { kind: 'json', status: 200, value: await call.engine.system.version() };
}

/** `GET /info`. */
export async function info(call: Call): Promise<Answer> {
  return { kind: 'json', status: 200, value: await call.engine.system.info() };
}
