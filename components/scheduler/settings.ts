/** The settings with their types, and the expressions compiled. The host has checked them against the manifest's schema and filled in the defaults. */
import { cronTimes, type Json, type Settings } from '#core';
import type { MisfirePolicy, Ticks } from './due.ts';

export interface Schedule {
  id: string;
  cron: string;
  timeZone: string;
  messageType: string;
  /** Null: what the scheduler says by itself. */
  content: Json;
  isReentrant: boolean;
  misfire: MisfirePolicy;
  ticks: Ticks;
}

export interface SchedulerSettings {
  schedules: Schedule[];
  graceMs: number;
  missedMax: number;
  waitingMax: number;
  historyMax: number;
  leaseTtlMs: number;
}

/** As the manifest declares them. */
type Declared = Omit<SchedulerSettings, 'schedules'> & {
  schedules: (Pick<Schedule, 'id' | 'cron'> & Partial<Schedule>)[];
};

/** @throws HF_SETTINGS_INVALID that names the schedule and what is wrong with it */
export function readSettings(settings: Settings): SchedulerSettings {
  const { schedules, ...others } = settings as unknown as Declared;
  const ids = new Set<string>();
  return {
    ...others,
    schedules: schedules.map((declared, index) => {
      const { id, cron, timeZone = 'UTC' } = declared;
      const at = `schedules[${index}] (${id})`;
      if (ids.has(id)) throw invalid(`${at}: another schedule has this id; give each its own`);
      ids.add(id);
      return {
        timeZone,
        messageType: `schedule.${id}`,
        content: null,
        isReentrant: false,
        misfire: 'skip',
        ...declared,
        ticks: compile(at, cron, timeZone),
      };
    }),
  };
}

function compile(at: string, cron: string, timeZone: string): Ticks {
  try {
    new Intl.DateTimeFormat('en', { timeZone });
  } catch {
    throw invalid(`${at}: "${timeZone}" is no time zone; expected a name like Europe/Berlin`);
  }
  try {
    const ticks = cronTimes(cron, timeZone);
    if (ticks.next(0) !== null) return ticks;
  } catch (error) {
    throw invalid(`${at}: "${cron}" is no cron expression: ${(error as Error).message}`);
  }
  throw invalid(`${at}: "${cron}" names a time that never comes`);
}

function invalid(message: string): Error {
  return Object.assign(new Error(message), { name: 'HoldfastError', code: 'HF_SETTINGS_INVALID' });
}
