/** What the router has counted since its start; shown on the health page. */
export interface Counters {
  requests: number;
  /** Requests inside the router now. */
  active: number;
  /** How many had to wait for an owner. */
  held: number;
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
    held: 0,
    retries: 0,
    notOwner: 0,
    unreachable: 0,
    broken: 0,
    timeouts: 0,
  };
}
