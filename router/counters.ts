/** What the router has counted since its start; shown on the health page. */
export interface Counters {
  requests: number;
  /** Requests inside the router now. */
  active: number;
  /** WebSockets now. */
  tunnels: number;
  /** How many had to wait for an owner. */
  held: number;
  /** How long they waited, all together, milliseconds. */
  heldMs: number;
  /** How many of them got no owner in time. */
  heldInVain: number;
  /** Requests that could not wait, because too many did already. */
  heldFull: number;
  /** Bodies that could not be kept to be sent again, because too many bytes were kept already. */
  unkept: number;
  /** How often a request was sent once more. */
  retries: number;
  /** 421 answers of hosts. */
  notOwner: number;
  /** Attempts that could not connect. */
  unreachable: number;
  /** Attempts that broke off after something was sent. */
  broken: number;
  timeouts: number;
}

export function createCounters(): Counters {
  return {
    requests: 0,
    active: 0,
    tunnels: 0,
    held: 0,
    heldMs: 0,
    heldInVain: 0,
    heldFull: 0,
    unkept: 0,
    retries: 0,
    notOwner: 0,
    unreachable: 0,
    broken: 0,
    timeouts: 0,
  };
}

/** What there is of something that is bounded, and how much there may be. */
export interface Bounded {
  now: number;
  max: number;
}

/** Everything that the router holds on to for others. */
export interface Bounds {
  requests: Bounded;
  webSockets: Bounded;
  heldRequests: Bounded;
  /** Of request bodies, kept to be sent again. */
  heldBytes: Bounded;
  knownKeys: Bounded;
}
