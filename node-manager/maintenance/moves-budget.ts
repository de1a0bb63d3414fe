/**
 * How many copies may be moved for the sake of evenness: so many within any hour, whoever led meanwhile. Moves are counted by the minute, in a
 * note, before they are begun. Pure.
 */

/** Moves by the minute that they were counted in, ISO 8601. */
export type MovesNote = Record<string, number>;

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

export function movesLeft(note: MovesNote, perHour: number, nowMs: number): number {
  const counted = recent(note, nowMs).reduce((sum, [, count]) => sum + count, 0);
  return Math.max(0, perHour - counted);
}

/** What to remember after these moves. */
export function countMoves(note: MovesNote, moves: number, nowMs: number): MovesNote {
  const minute = new Date(nowMs - (nowMs % minuteMs)).toISOString();
  const kept = Object.fromEntries(recent(note, nowMs));
  return { ...kept, [minute]: (kept[minute] ?? 0) + moves };
}

/** A minute of the future was counted by a manager whose clock is ahead: it counts until it is over an hour old here. */
function recent(note: MovesNote, nowMs: number): [string, number][] {
  return Object.entries(note).filter(([minute]) => Date.parse(minute) > nowMs - hourMs - minuteMs);
}
