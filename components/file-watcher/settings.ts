/** The settings with their types. The host has checked them against the manifest's schema and filled in the defaults. */
import { resolve } from 'node:path';
import type { Settings } from '#core';

export interface WatcherSettings {
  /** Absolute. */
  folder: string;
  /** A relative path belongs to it if it matches one of `filter` and none of `ignore`. */
  filter: string[];
  ignore: string[];
  recursive: boolean;
  existingFiles: 'publish' | 'ignore';
  stableMs: number;
  rescanMs: number;
  filesMax: number;
  messageType: string;
  ownerPer: 'cluster' | 'node';
  leaseTtlMs: number;
  /** Absolute. */
  stateDirectory: string;
}

/** As the manifest declares them. */
type Declared = Omit<WatcherSettings, 'folder' | 'filter' | 'ignore'> & {
  path: string;
  filter: string | string[];
  ignore: string | string[];
};

export function readSettings(settings: Settings, dataDirectory: string): WatcherSettings {
  const { path, filter, ignore, stateDirectory, ...others } = settings as unknown as Declared;
  return {
    ...others,
    folder: resolve(dataDirectory, path),
    filter: [filter].flat(),
    ignore: [ignore].flat(),
    stateDirectory: resolve(dataDirectory, stateDirectory),
  };
}
