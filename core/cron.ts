/**
 * The times of a cron expression in a time zone. Five fields (minute, hour, day, month, weekday), or six with seconds in front. Pure.
 *
 * Where clocks are put forward, a fixed time (`30 2 * * *`) that does not exist that day comes at the first moment after the gap; where they are
 * put back, it comes once, at the first of the two. Expressions with a wildcard or step in seconds, minutes or hours follow elapsed time: they
 * leave the gap out and come in both of the repeated hours.
 */
import { Cron } from 'croner';

export interface CronTimes {
  /** The first time after this one, milliseconds since 1970; null: there is none. */
  next(afterMs: number): number | null;
  /** The last time that is not after this one. */
  latest(nowMs: number): number | null;
}

/** @throws Error with the library's explanation of what is wrong with the expression */
export function cronTimes(expression: string, timeZone: string): CronTimes {
  const cron = new Cron(expression, {
    timezone: timeZone,
    mode: '5-or-6-parts',
    fixedTimeRule: 'no-wildcard',
    paused: true,
  });
  return {
    next: afterMs => cron.nextRun(new Date(afterMs))?.getTime() ?? null,
    latest: nowMs => cron.previousRuns(1, new Date(nowMs + 1))[0]?.getTime() ?? null,
  };
}

/** What is wrong with the expression, in words, or null. */
export function cronProblem(expression: string): string | null {
  try {
    return cronTimes(expression, 'UTC').next(0) === null ? 'it names a time that never comes' : null;
  } catch (error) {
    return (error as Error).message;
  }
}

export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false; // the runtime does not know it
  }
}
