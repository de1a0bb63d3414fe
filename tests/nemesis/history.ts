/**
 * What clients did and saw, and what the registers hold in the end: the material of the checker. A register is a list to
 * which elements are appended, each of them sent once. Times are milliseconds of one monotonic clock of the machine, which
 * clients and owners share.
 */
export interface Operation {
  client: number;
  key: string;
  router: string;
  /** `look` asks only who answers. */
  kind: 'append' | 'read' | 'look';
  startMs: number;
  endMs: number;
  /** `failed`: the answer says that it was not executed, or it was never sent. `unknown`: nobody knows. */
  outcome: 'ok' | 'failed' | 'unknown';
  /** What was to be appended. */
  element: string | null;
  /** Where it went, counted from 1, when it was acknowledged. */
  position: number | null;
  seen: Seen | null;
  /** Who answered; null where the answer does not say. */
  answer: Answer | null;
  /** Why it is not `ok`. */
  failure: Failure | null;
}

/** A list that was read: its length, and its newest elements, oldest first. All of them, unless a register only shows the newest. */
export interface Seen {
  length: number;
  tail: readonly string[];
}

export interface Answer {
  owner: string;
  fence: bigint;
  /** An instant between request and answer in which the owner held the right, by its own belief. */
  atMs: number | null;
  /** How many requests this opening has served, this one included. */
  served: number | null;
}

/** `status` null: there was no answer. */
export interface Failure {
  status: number | null;
  code: string | null;
  message: string;
}

/** What a register holds, read when everything was over. */
export interface Content {
  entries: readonly Entry[];
  /** In the order in which owners took the register over; null: it does not note them. */
  openings: readonly Opening[] | null;
}

export interface Entry {
  element: string;
  /** Null: it does not note them. */
  fence: bigint | null;
  owner: string | null;
}

export interface Opening {
  fence: bigint;
  owner: string;
  atMs: number;
}

/** Something that was broken, from its begin until the cluster had healed. */
export interface FaultSpan {
  name: string;
  startMs: number;
  /** When the breaking was over. */
  overMs: number;
  endMs: number;
  /** `nothing`: no request at all. `unsafe`: appends may end with an unknown outcome. `all`: the cluster may be unavailable. */
  mayFail: MayFail;
  /** Routers whose connections may break. */
  routers: readonly string[];
}

export type MayFail = 'nothing' | 'unsafe' | 'all';

export interface History {
  operations: Operation[];
  faults: FaultSpan[];
}

export function createHistory(): History {
  return { operations: [], faults: [] };
}

export type Invariant =
  | 'I1 commits in fence order'
  | 'I2 acknowledged appends stay'
  | 'I3 one answerer'
  | 'I4 linearizable'
  | 'I5 fences increase'
  | 'I7 served again'
  | 'availability';

export interface Violation {
  invariant: Invariant;
  key: string;
  message: string;
}

export function byKey<Item extends { key: string }>(items: readonly Item[]): Map<string, Item[]> {
  const found = new Map<string, Item[]>();
  for (const item of items) {
    const list = found.get(item.key);
    if (list) list.push(item);
    else found.set(item.key, [item]);
  }
  return found;
}

/**
 * Calls with each item and the greatest of those that had ended before it began. Items that overlap have no order.
 */
export function eachAfter<Item extends { startMs: number; endMs: number }>(
  items: readonly Item[],
  rank: (item: Item) => number | bigint,
  visit: (item: Item, before: Item) => void,
): void {
  const ended = [...items].sort((a, b) => a.endMs - b.endMs);
  let next = 0;
  let greatest: Item | null = null;
  for (const item of [...items].sort((a, b) => a.startMs - b.startMs)) {
    for (let one = ended[next]; one && one.endMs < item.startMs; one = ended[++next]) {
      if (!greatest || rank(one) > rank(greatest)) greatest = one;
    }
    if (greatest) visit(item, greatest);
  }
}

/** Words for messages. */
export function at({ startMs, endMs }: { startMs: number; endMs: number }): string {
  return `at ${startMs.toFixed(1)}–${endMs.toFixed(1)} ms`;
}
