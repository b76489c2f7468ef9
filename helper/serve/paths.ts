// Where an instance keeps its sockets, state, policy and log. Source: ARCHITECTURE, "Paths".
export type Paths = {
  readonly run: string;
  readonly users: string;
  readonly helper: string;
  readonly etc: string;
  readonly audit: string;
  /** Remembers the slot of a --state-dir instance. */
  readonly slot: string;
};

/** The paths of the system instance, or of the one beneath `stateDir`. */
export function pathsOf(stateDir: string | undefined): Paths {
  const at = (part: string, ofSystem: string): string => (stateDir === undefined ? ofSystem : `${stateDir}/${part}`);
  const lib = at('lib', '/var/lib/berth');
  const [run, etc, audit] = [at('run', '/run/berth'), at('etc', '/etc/berth'), at('log/audit', '/var/log/berth/audit')];
  return { run, etc, audit, users: `${lib}/users`, helper: `${lib}/helper`, slot: `${lib}/slot` };
}
