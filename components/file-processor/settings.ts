/** The settings with their types. The host has checked them against the manifest's schema and filled in the defaults. */
import { resolve } from 'node:path';
import type { Json, Settings } from '#core';

export type Format = 'csv' | 'json' | 'ndjson';
export type FieldType = 'text' | 'integer' | 'number' | 'boolean' | 'json';

/** How one field of a row is made. */
export interface Field {
  name: string;
  /** Name of the field in the file; null: it is always `value`. */
  from: string | null;
  /** Null: as it is in the file. */
  type: FieldType | null;
  required: boolean;
  /** What it is when the file has nothing there. */
  value: Json;
}

export interface ProcessorSettings {
  /** Absolute. */
  folder: string;
  messageTypes: string[];
  format: Format | 'auto';
  delimiter: string;
  /** Null: the first line names the columns. */
  csvColumns: string[] | null;
  /** Null: rows go out as they are in the file. */
  mapping: Field[] | null;
  outputType: string;
  rowsPerMessage: number;
  rowBytesMax: number;
  jsonBytesMax: number;
  attemptsMax: number;
  after: 'keep' | 'delete' | 'move';
  /** Absolute. */
  doneDirectory: string;
  errorDirectory: string;
  concurrency: number;
}

/** As the manifest declares them. */
interface Declared extends Omit<ProcessorSettings, 'mapping' | 'csvColumns'> {
  csvColumns?: string[];
  mapping?: Record<
    string,
    string | { from?: string; type?: FieldType; required?: boolean; default?: Json; value?: Json }
  >;
}

export function readSettings(settings: Settings, dataDirectory: string): ProcessorSettings {
  const declared = settings as unknown as Declared;
  return {
    ...declared,
    folder: resolve(dataDirectory, declared.folder),
    csvColumns: declared.csvColumns ?? null,
    mapping: declared.mapping
      ? Object.entries(declared.mapping).map(([name, field]) => readField(name, field))
      : null,
    doneDirectory: resolve(dataDirectory, declared.doneDirectory),
    errorDirectory: resolve(dataDirectory, declared.errorDirectory),
  };
}

function readField(name: string, declared: NonNullable<Declared['mapping']>[string]): Field {
  if (typeof declared === 'string') return { name, from: declared, type: null, required: false, value: null };
  const { from = name, type = null, required = false, default: otherwise = null, value } = declared;
  return value === undefined
    ? { name, from, type, required, value: otherwise }
    : { name, from: null, type: null, required: false, value };
}
