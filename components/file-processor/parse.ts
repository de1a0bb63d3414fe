/** The rows of a file, one after the other, in bounded memory (JSON, which has no rows by itself, only up to a limit). */
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { extname } from 'node:path';
import { parse as parseCsv } from 'csv-parse';
import type { Json } from '#core';
import type { Format, ProcessorSettings } from './settings.ts';

/** The file is not what its format says; the message names the line. */
export class FormatError extends Error {}

const byExtension: Record<string, Format> = {
  '.csv': 'csv',
  '.tsv': 'csv',
  '.txt': 'csv',
  '.json': 'json',
  '.ndjson': 'ndjson',
  '.jsonl': 'ndjson',
};

/** @throws FormatError; the file system's errors */
export async function* rowsIn(path: string, settings: ProcessorSettings): AsyncGenerator<Json> {
  const extension = extname(path).toLowerCase();
  const format = settings.format === 'auto' ? byExtension[extension] : settings.format;
  switch (format) {
    case 'csv':
      return yield* csvRows(path, settings, extension === '.tsv' ? '\t' : settings.delimiter);
    case 'ndjson':
      return yield* ndjsonRows(path, settings);
    case 'json':
      return yield* jsonRows(path, settings);
    case undefined:
      throw new FormatError(
        `the name ends in "${extension}", which says nothing of the format; set format to csv, json or ndjson`,
      );
  }
}

async function* csvRows(path: string, settings: ProcessorSettings, delimiter: string): AsyncGenerator<Json> {
  const parser = parseCsv({
    columns: settings.csvColumns ?? true,
    delimiter,
    bom: true,
    skip_empty_lines: true,
    max_record_size: settings.rowBytesMax,
  });
  const file = createReadStream(path);
  file.once('error', error => parser.destroy(error));
  file.pipe(parser);
  try {
    for await (const record of parser as AsyncIterable<Json>) yield record;
  } catch (error) {
    if (typeof (error as NodeJS.ErrnoException).errno === 'number') throw error; // reading failed, not the format
    throw new FormatError((error as Error).message);
  } finally {
    file.destroy();
  }
}

async function* ndjsonRows(path: string, { rowBytesMax }: ProcessorSettings): AsyncGenerator<Json> {
  let number = 0;
  let rest = '';
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const read = (line: string): Json[] => {
    number++;
    if (line.trim() === '') return [];
    try {
      return [JSON.parse(line) as Json];
    } catch (error) {
      throw new FormatError(`line ${number} is no JSON: ${(error as Error).message}`);
    }
  };
  const decode = (chunk: Buffer | undefined): string => {
    try {
      return decoder.decode(chunk, { stream: chunk !== undefined });
    } catch {
      throw new FormatError(`line ${number + 1} or one of the next is no UTF-8`);
    }
  };
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    const lines = (rest + decode(chunk)).split('\n');
    rest = lines.pop()!;
    for (const line of lines) yield* read(line);
    if (rest.length > rowBytesMax)
      throw new FormatError(`line ${number + 1} has more than ${rowBytesMax} bytes (rowBytesMax)`);
  }
  yield* read(rest + decode(undefined));
}

async function* jsonRows(path: string, { jsonBytesMax }: ProcessorSettings): AsyncGenerator<Json> {
  const { size } = await stat(path);
  if (size > jsonBytesMax) {
    throw new FormatError(
      `has ${size} bytes; JSON is read whole, up to ${jsonBytesMax} (jsonBytesMax). Use ndjson for more`,
    );
  }
  let content: Json;
  try {
    content = JSON.parse(await readFile(path, 'utf8')) as Json;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new FormatError(`is no JSON: ${error.message}`);
  }
  yield* Array.isArray(content) ? content : [content];
}
