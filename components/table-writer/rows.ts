/** The rows in a message, as values for the columns. Pure. What does not fit is refused with its place, so that no row is written in part. */
import type { Json, Message } from '#core';
import type { Column } from './settings.ts';

export type Value = null | number | string | boolean;

/** Content that is one row, a list of rows, or `{"rows": […]}`. Rows are objects. @throws RowError */
export function rowsOf(message: Message, columns: readonly Column[]): Value[][] {
  let content: Json;
  try {
    content = JSON.parse(message.content ?? '') as Json;
  } catch (error) {
    throw new RowError(`the content is no JSON: ${(error as Error).message}`);
  }
  const held = isObject(content) && Array.isArray(content.rows) ? content.rows : content;
  const rows = Array.isArray(held) ? held : [held];
  return rows.map((row, index) => {
    if (!isObject(row)) throw new RowError(`row ${index} is no object`);
    return columns.map(column => valueOf(row[column.from], column, index));
  });
}

export class RowError extends Error {}

function valueOf(given: Json | undefined, { name, from, type, required }: Column, index: number): Value {
  if (given === undefined || given === null) {
    if (!required) return null;
    throw new RowError(`row ${index} has no "${from}", which column ${name} needs`);
  }
  switch (type) {
    case 'json':
      return JSON.stringify(given);
    case 'text':
      if (typeof given === 'string') return given;
      if (typeof given === 'number' || typeof given === 'boolean') return String(given);
      break;
    case 'boolean':
      if (typeof given === 'boolean') return given;
      break;
    case 'integer':
      if (typeof given === 'number' && Number.isSafeInteger(given)) return given;
      break;
    case 'real':
      if (typeof given === 'number') return given;
      break;
  }
  const shown = JSON.stringify(given).slice(0, 80);
  throw new RowError(`row ${index}: "${from}" is ${shown}, but column ${name} takes ${type}`);
}

function isObject(value: Json | undefined): value is Record<string, Json> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
