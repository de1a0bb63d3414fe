/**
 * What clients saw, and what must hold of it whatever was broken meanwhile. Pure: the history in, the violations out.
 *
 * A register is an append-only table with ids 1, 2, 3 …; every value is written by one request only. "Before" means that one
 * request had been answered when the other was sent; requests that overlap have no order.
 */
export interface Span {
  key: string;
  router: string;
  startMs: number;
  endMs: number;
}

/** `refused`: the answer says that it was not executed. `unknown`: nobody knows. */
export interface Write extends Span {
  value: string;
  outcome: 'acknowledged' | 'refused' | 'unknown';
  /** Of the row, when it was acknowledged. */
  id: number | null;
}

export interface Row {
  id: number;
  value: string;
}

/** The newest rows, newest first. */
export interface Read extends Span {
  rows: Row[];
}

/** An answer that names its owner. `served` counts the requests of one opening, if the component does. */
export interface Sight extends Span {
  fence: bigint;
  owner: string;
  served: number | null;
}

/** A request without a good answer; `status` null when the connection failed. */
export interface Failure extends Span {
  method: 'GET' | 'POST';
  status: number | null;
  code: string | null;
  message: string;
}

/** What may fail from its begin until the cluster has healed. */
export interface FaultSpan {
  name: string;
  startMs: number;
  endMs: number;
  /** `nothing`: no request at all. `unsafe`: POSTs may end with an unknown outcome. `all`: the whole cluster is away. */
  mayFail: 'nothing' | 'unsafe' | 'all';
  /** Routers whose connections may break. */
  routers: readonly string[];
}

export interface History {
  writes: Write[];
  reads: Read[];
  sights: Sight[];
  failures: Failure[];
  faults: FaultSpan[];
}

export function createHistory(): History {
  return { writes: [], reads: [], sights: [], failures: [], faults: [] };
}

/** `registers`: all rows of every register, read when everything was over. */
export function check(history: History, registers: ReadonlyMap<string, readonly Row[]>): string[] {
  const violations: string[] = [];
  const sights = byKey(history.sights);
  for (const [key, found] of sights) violations.push(...checkFences(key, found));
  const writes = byKey(history.writes);
  const reads = byKey(history.reads);
  for (const [key, rows] of registers) {
    violations.push(...checkRegister(key, rows, writes.get(key) ?? [], reads.get(key) ?? []));
  }
  for (const failure of history.failures) {
    const problem = judge(failure, history.faults);
    if (problem !== null) violations.push(problem);
  }
  return violations;
}

function checkFences(key: string, sights: Sight[]): string[] {
  const violations: string[] = [];
  const owners = new Map<bigint, string>();
  const served = new Set<string>();
  for (const { fence, owner, served: count } of sights) {
    const known = owners.get(fence) ?? owner;
    owners.set(fence, known);
    if (known !== owner) violations.push(`${key}: fence ${fence} answered by ${known} and by ${owner}`);
    if (count === null) continue;
    const turn = `${fence} ${count}`;
    if (served.has(turn)) violations.push(`${key}: fence ${fence} served its request ${count} twice`);
    served.add(turn);
  }
  eachAfter(
    sights,
    sights,
    (sight, before) => {
      if (before.fence <= sight.fence) return;
      violations.push(
        `${key}: ${at(sight)} answered under fence ${sight.fence} after fence ${before.fence} had answered ${at(before)}`,
      );
    },
    (left, right) => (left.fence > right.fence ? left : right),
  );
  return violations;
}

function checkRegister(key: string, rows: readonly Row[], writes: Write[], reads: Read[]): string[] {
  const violations: string[] = [];
  const stored = new Map(rows.map(row => [row.id, row.value]));
  const places = new Map<string, number>();
  const sent = new Set(writes.map(write => write.value));
  for (const { id, value } of rows) {
    if (places.has(value)) violations.push(`${key}: ${value} was applied twice`);
    if (!sent.has(value)) violations.push(`${key}: ${value} was never sent`);
    places.set(value, id);
  }
  for (const write of writes) {
    const id = places.get(write.value);
    if (write.outcome === 'acknowledged') {
      if (id === undefined) violations.push(`${key}: ${write.value}, acknowledged ${at(write)}, is lost`);
      else if (id !== write.id)
        violations.push(`${key}: ${write.value} is row ${id}, acknowledged as ${write.id}`);
    } else if (write.outcome === 'refused' && id !== undefined) {
      violations.push(`${key}: ${write.value}, refused ${at(write)}, was applied`);
    }
  }
  const seen: (Span & { id: number })[] = [];
  for (const read of reads) {
    const newest = read.rows[0]?.id ?? 0;
    seen.push({ ...read, id: newest });
    for (const [index, { id, value }] of read.rows.entries()) {
      if (id !== newest - index) violations.push(`${key}: ${at(read)} saw a gap above row ${id}`);
      if (stored.get(id) !== value)
        violations.push(`${key}: ${at(read)} saw ${value} as row ${id}, which is ${stored.get(id)}`);
    }
  }
  for (const write of writes) if (write.id !== null) seen.push({ ...write, id: write.id });
  eachAfter(
    seen,
    seen,
    (one, before) => {
      if (one.id >= before.id) return;
      violations.push(
        `${key}: ${at(one)} saw the register at ${one.id} after it had been at ${before.id} ${at(before)}`,
      );
    },
    (left, right) => (left.id > right.id ? left : right),
  );
  return violations;
}

/** Why this failure is one that must not be, or null. */
function judge(failure: Failure, faults: readonly FaultSpan[]): string | null {
  const present = faults.filter(fault => fault.startMs <= failure.endMs && failure.startMs <= fault.endMs);
  const names = present.map(fault => fault.name).join(', ') || 'no fault';
  if (present.some(fault => fault.mayFail === 'all')) return null;
  if (failure.status === null && present.some(fault => fault.routers.includes(failure.router))) return null;
  const unsafe = present.some(fault => fault.mayFail === 'unsafe');
  if (failure.method === 'POST' && unsafe && failure.code === 'HF_OUTCOME_UNKNOWN') return null;
  const { method, key, status, code, message, router } = failure;
  const answer = status === null ? message : `${status} ${code ?? ''} ${message}`;
  return `${method} ${key} through ${router} failed ${at(failure)} during ${names}: ${answer}`;
}

/** Calls with each item and the greatest (by `greater`) of those that had ended before it began. */
function eachAfter<Item extends Span>(
  items: readonly Item[],
  earlier: readonly Item[],
  visit: (item: Item, before: Item) => void,
  greater: (left: Item, right: Item) => Item,
): void {
  const ended = [...earlier].sort((a, b) => a.endMs - b.endMs);
  let next = 0;
  let greatest: Item | null = null;
  for (const item of [...items].sort((a, b) => a.startMs - b.startMs)) {
    for (let one = ended[next]; one && one.endMs < item.startMs; one = ended[++next]) {
      greatest = greatest ? greater(greatest, one) : one;
    }
    if (greatest) visit(item, greatest);
  }
}

function byKey<Item extends Span>(items: readonly Item[]): Map<string, Item[]> {
  const found = new Map<string, Item[]>();
  for (const item of items) {
    const list = found.get(item.key);
    if (list) list.push(item);
    else found.set(item.key, [item]);
  }
  return found;
}

function at({ startMs, endMs }: Span): string {
  return `at ${startMs.toFixed(0)}–${endMs.toFixed(0)} ms`;
}
