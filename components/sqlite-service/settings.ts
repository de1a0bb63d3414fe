/** The settings with their types. The host has checked them against the manifest's schema and filled in the defaults. */
import { resolve } from 'node:path';
import type { Settings } from '#core';

export interface ServiceSettings {
  /** Absolute. */
  directory: string;
  deadlineMs: number;
  processes: number;
  openDatabases: number;
  maxQueued: number;
  maxRows: number;
  maxBytes: number;
}

export function readSettings(settings: Settings, dataDirectory: string): ServiceSettings {
  const { directory } = settings;
  return {
    directory: resolve(dataDirectory, typeof directory === 'string' ? directory : '.'),
    deadlineMs: Number(settings.deadlineMs),
    processes: Number(settings.processes),
    openDatabases: Number(settings.openDatabases),
    maxQueued: Number(settings.maxQueued),
    maxRows: Number(settings.maxRows),
    maxBytes: Number(settings.maxBytes),
  };
}
