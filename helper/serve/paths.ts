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
  if (stateDir === undefined) {
    const lib = '/var/lib/berth';
    return {
      run: '/run/berth',
      users: `${lib}/users`,
      helper: `${lib}/helper`,
      etc: '/etc/berth',
      audit: '/var/log/berth/audit',
      slot: `${lib}/slot`,
    };
  }
  const lib = `${stateDir}/lib`;
  return {
    run: `${stateDir}/run`,
    users: `${lib}/users`,
    helper: `${lib}/helper`,
    etc: `${stateDir}/etc`,
    audit: `${stateDir}/log/audit`,
    slot: `${lib}/slot`,
  };
}
