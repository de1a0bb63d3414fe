/** The settings with their types. The host has checked them against the manifest's schema and filled in the defaults. */
import { resolve } from 'node:path';
import type { Settings } from '#core';

export type ColumnType = 'text' | 'integer' | 'real' | 'boolean' | 'json';

export interface Column {
  name: string;
  type: ColumnType;
  /** Name of the field in the rows. */
  from: string;
  /** Whether rows without it are refused. */
  required: boolean;
}

export interface Table {
  name: string;
  columns: Column[];
  /** Names of columns; empty: rows are only added. */
  key: string[];
  /** Where the ids of the messages are kept that have been written. */
  messagesTable: string;
}

export interface WriterSettings {
  messageTypes: string[];
  table: Table;
  createTable: boolean;
  target: { kind: 'sqlite'; file: string } | { kind: 'postgres'; urlEnv: string };
  concurrency: number;
  rememberMs: number;
}

/** As the manifest declares them. */
interface Declared extends Pick<
  WriterSettings,
  'messageTypes' | 'createTable' | 'concurrency' | 'rememberMs'
> {
  table: string;
  messagesTable: string;
  key: string[];
  columns: Record<string, ColumnType | { type: ColumnType; from?: string; required?: boolean }>;
  target: WriterSettings['target'];
}

/** @throws HF_SETTINGS_INVALID when the key names a column that there is not */
export function readSettings(settings: Settings, dataDirectory: string): WriterSettings {
  const declared = settings as unknown as Declared;
  const { target, key, messagesTable } = declared;
  const columns = Object.entries(declared.columns).map(([name, column]): Column => {
    const described = typeof column === 'string' ? { type: column } : column;
    return { name, from: name, required: key.includes(name), ...described };
  });
  for (const name of key) {
    if (!columns.some(column => column.name === name)) {
      throw Object.assign(
        new Error(`key: "${name}" is none of the columns (${Object.keys(declared.columns).join(', ')})`),
        {
          name: 'HoldfastError',
          code: 'HF_SETTINGS_INVALID',
        },
      );
    }
  }
  return {
    ...declared,
    table: { name: declared.table, columns, key, messagesTable },
    target: target.kind === 'sqlite' ? { ...target, file: resolve(dataDirectory, target.file) } : target,
  };
}
