/**
 * Which changes of a folder are worth telling, and when. Pure: what was told last, what was seen last, and the time go in; events come out.
 *
 * What must hold: whoever applies the events in order to what was told before has what was seen, as soon as it has been quiet for `stableMs`;
 * and nothing is told twice. A file that somebody still writes is not quiet, because its size or time differs at each look.
 *
 * A rename is a path that has gone and a new one with the same inode, size and time of modification. The inode alone would not do: file systems
 * give the number of a deleted file to the next one.
 */

/** What tells one state of a file from another. */
export interface Facts {
  /** Decimal digits. */
  readonly inode: string;
  readonly size: number;
  /** Nanoseconds since 1970, decimal digits. */
  readonly modified: string;
}

/** A path as a look found it; null: it is not there. */
export interface Sighting {
  readonly path: string;
  readonly facts: Facts | null;
}

export type FileEvent =
  | { readonly type: 'created' | 'changed'; readonly path: string; readonly facts: Facts }
  | { readonly type: 'renamed'; readonly path: string; readonly from: string; readonly facts: Facts }
  | { readonly type: 'deleted'; readonly path: string };

export interface Changes {
  /** What was told, by path. */
  readonly told: Map<string, Facts>;
  /** Paths that look different from what was told, and since when. */
  readonly pending: Map<string, { readonly facts: Facts | null; readonly sinceMs: number }>;
}

export function beginChanges(told: Iterable<readonly [string, Facts]> = []): Changes {
  return { told: new Map(told), pending: new Map() };
}

/** Takes in what a look found. Paths that it did not look at are as they were. */
export function see(changes: Changes, sightings: Iterable<Sighting>, nowMs: number): void {
  for (const { path, facts } of sightings) {
    if (isSame(facts, changes.told.get(path) ?? null)) {
      changes.pending.delete(path);
      continue;
    }
    const before = changes.pending.get(path);
    if (!before || !isSame(before.facts, facts)) changes.pending.set(path, { facts, sinceMs: nowMs });
  }
}

/** The events of all that has been quiet for long enough, in an order in which they can be applied. Takes them as told. */
export function ripen(changes: Changes, nowMs: number, stableMs: number): FileEvent[] {
  const { told, pending } = changes;
  const isRipe = (path: string) => nowMs - pending.get(path)!.sinceMs >= stableMs;
  const events: FileEvent[] = [];
  const partners = findRenames(changes);

  for (const path of [...pending.keys()].sort()) {
    const { facts } = pending.get(path)!;
    const partner = partners.get(path);
    if (!isRipe(path) || (partner !== undefined && !isRipe(partner))) continue;
    if (facts === null) {
      if (partner === undefined) events.push({ type: 'deleted', path });
    } else if (partner === undefined) {
      events.push({ type: told.has(path) ? 'changed' : 'created', path, facts });
    } else {
      events.push({ type: 'renamed', path, from: partner, facts });
    }
  }
  for (const event of events) {
    pending.delete(event.path);
    if (event.type === 'renamed') pending.delete(event.from);
    apply(told, event);
  }
  return events;
}

/** When the next pending path will be ripe, if nothing changes; null: nothing is pending. */
export function nextRipeMs(changes: Changes, stableMs: number): number | null {
  let next: number | null = null;
  for (const { sinceMs } of changes.pending.values()) {
    if (next === null || sinceMs + stableMs < next) next = sinceMs + stableMs;
  }
  return next;
}

export function apply(told: Map<string, Facts>, event: FileEvent): void {
  if (event.type === 'renamed') told.delete(event.from);
  if (event.type === 'deleted') told.delete(event.path);
  else told.set(event.path, event.facts);
}

/** Both ways: a new path to the one that it had, and that one to the new. Of several with one inode (hard links) each is used once. */
function findRenames({ told, pending }: Changes): Map<string, string> {
  const gone = new Map<string, string[]>();
  for (const [path, { facts }] of pending) {
    if (facts !== null) continue;
    const was = told.get(path);
    if (!was) continue;
    const paths = gone.get(identity(was));
    if (paths) paths.push(path);
    else gone.set(identity(was), [path]);
  }
  const partners = new Map<string, string>();
  if (gone.size === 0) return partners;
  for (const paths of gone.values()) paths.sort().reverse();
  for (const path of [...pending.keys()].sort()) {
    const { facts } = pending.get(path)!;
    if (facts === null || told.has(path)) continue;
    const from = gone.get(identity(facts))?.pop();
    if (from === undefined) continue;
    partners.set(path, from).set(from, path);
  }
  return partners;
}

function identity({ inode, size, modified }: Facts): string {
  return `${inode} ${size} ${modified}`;
}

function isSame(one: Facts | null, other: Facts | null): boolean {
  if (one === null || other === null) return one === other;
  return identity(one) === identity(other);
}
