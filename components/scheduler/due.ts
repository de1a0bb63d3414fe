/**
 * Which ticks of a schedule fire now. Pure: the times of the cron expression, the last tick that was decided, and the time go in.
 *
 * What must hold: each tick is decided once. It fires, or it is passed over: because it was missed (nobody was there, or the clock jumped) and the
 * policy says so, or because the firing before is still under way. However long nobody was there, the answer is short and takes little time.
 */

/** What becomes of ticks that were missed: none fires, the latest one, or all (the latest `missedMax`). */
export type MisfirePolicy = 'skip' | 'once' | 'all';

export interface Ticks {
  /** The first time after this one, milliseconds since 1970; null: there is none. */
  next(afterMs: number): number | null;
  /** The last time that is not after this one. */
  latest(nowMs: number): number | null;
}

export interface Rules {
  misfire: MisfirePolicy;
  /** A tick that is decided later than this was missed. */
  graceMs: number;
  /** How many missed ticks `all` fires. */
  missedMax: number;
}

export type Reason = 'missed' | 'overlap';

export interface Decision {
  /** In order. */
  fire: number[];
  /** Ticks from `firstMs` to `lastMs` that do not fire. */
  passedOver: { firstMs: number; lastMs: number; reason: Reason }[];
  /** The last tick that was decided, for the next time. */
  decidedMs: number;
}

/**
 * @param state `decidedMs`: nothing up to here is looked at; `mayFire`: no firing before stands in the way
 */
export function decide(
  ticks: Ticks,
  rules: Rules,
  state: { decidedMs: number; mayFire: boolean },
  nowMs: number,
): Decision {
  const { decidedMs } = state;
  const last = ticks.latest(nowMs);
  if (last === null || last <= decidedMs) return { fire: [], passedOver: [], decidedMs };
  const firstMs = ticks.next(decidedMs)!;
  if (!state.mayFire) {
    return { fire: [], passedOver: [{ firstMs, lastMs: last, reason: 'overlap' }], decidedMs: last };
  }
  const lateBeforeMs = nowMs - rules.graceMs;
  const fire = backwards(ticks, last, Math.max(decidedMs, lateBeforeMs - 1), Infinity);
  const lastMissed = ticks.latest(lateBeforeMs - 1);
  if (lastMissed !== null && lastMissed > decidedMs) {
    const limit = { skip: 0, once: 1, all: rules.missedMax }[rules.misfire];
    fire.unshift(...backwards(ticks, lastMissed, decidedMs, limit));
  }
  const passedOver: Decision['passedOver'] = [];
  if (fire[0] !== firstMs) {
    const lastMs = fire[0] === undefined ? last : ticks.latest(fire[0] - 1)!;
    passedOver.push({ firstMs, lastMs, reason: 'missed' });
  }
  return { fire, passedOver, decidedMs: last };
}

/** Ticks after `afterMs` up to this one, at most `limit` of them, the latest; in order. */
function backwards(ticks: Ticks, lastMs: number, afterMs: number, limit: number): number[] {
  const found: number[] = [];
  for (let at: number | null = lastMs; at !== null && at > afterMs && found.length < limit;) {
    found.push(at);
    at = ticks.latest(at - 1);
  }
  return found.reverse();
}

/** The next times that it fires, if nothing is missed; at most `count`, and none after `untilMs`. */
export function upcoming(ticks: Ticks, afterMs: number, count: number, untilMs = Infinity): number[] {
  const found: number[] = [];
  for (
    let at = ticks.next(afterMs);
    at !== null && at <= untilMs && found.length < count;
    at = ticks.next(at)
  ) {
    found.push(at);
  }
  return found;
}
