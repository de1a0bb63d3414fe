/** A row of the file, as the mapping wants it. Pure. */
import type { Json } from '#core';
import type { Field, FieldType } from './settings.ts';

export type Row = Record<string, Json>;

/** The row cannot be made; the message says which field and why. */
export class RowError extends Error {}

/** @param number of the row in the file, from 1, for the message */
export function transform(row: Json, mapping: readonly Field[] | null, number: number): Row {
  if (typeof row !== 'object' || row === null || Array.isArray(row)) {
    throw new RowError(`row ${number} is no object, but ${shown(row)}`);
  }
  if (mapping === null) return row;
  const made: Row = {};
  for (const { name, from, type, required, value } of mapping) {
    const given = from !== null && Object.hasOwn(row, from) ? row[from] : undefined;
    // An empty cell of a CSV file is nothing, except where text is asked for.
    const isMissing =
      given === undefined || given === null || (given === '' && type !== null && type !== 'text');
    if (isMissing && required) throw new RowError(`row ${number}: "${from}" is missing, which ${name} needs`);
    made[name] = isMissing ? value : type === null ? given : convert(given, type, `row ${number}: "${from}"`);
  }
  return made;
}

function convert(given: Json, type: FieldType, where: string): Json {
  switch (type) {
    case 'text':
      return typeof given === 'string' ? given : JSON.stringify(given);
    case 'integer':
    case 'number': {
      const number = typeof given === 'string' && given.trim() !== '' ? Number(given) : given;
      const isGood = type === 'integer' ? Number.isSafeInteger(number) : Number.isFinite(number);
      if (isGood) return number;
      break;
    }
    case 'boolean': {
      const word = typeof given === 'object' ? '' : String(given).toLowerCase();
      if (['true', '1', 'yes'].includes(word)) return true;
      if (['false', '0', 'no'].includes(word)) return false;
      break;
    }
    case 'json':
      if (typeof given !== 'string') return given;
      try {
        return JSON.parse(given) as Json;
      } catch {
        break; // said below
      }
  }
  throw new RowError(`${where} is ${shown(given)}, but ${type} is expected`);
}

function shown(value: Json): string {
  return JSON.stringify(value).slice(0, 80);
}
