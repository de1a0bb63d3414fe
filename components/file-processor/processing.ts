/**
 * One file: parsed, transformed and published as messages with rows.
 *
 * Why each row goes out once. The ids of the messages are made of the id of the message about the file and of their number; an attempt after a crash publishes the
 * same rows under the same ids. For that the file must be the one that the message speaks of: size and time are compared, and a file that has changed since
 * is left to the message about that change. The file is read twice: nothing of a file with a bad row is published.
 */
import { lstat, rm } from 'node:fs/promises';
import { isoTime, type ComponentContext, type Message, type System } from '#core';
import type { FileChange } from './change.ts';
import { rowsIn } from './parse.ts';
import { exists, isMissing, moveFile, placeIn } from './places.ts';
import type { ProcessorSettings } from './settings.ts';
import { transform, type Row } from './transform.ts';

export interface ProcessingOptions {
  context: Pick<ComponentContext, 'instanceId' | 'publisher' | 'log'>;
  settings: ProcessorSettings;
  system: System;
  /** Aborts when the outcome no longer matters. */
  signal: AbortSignal;
}

/** `before`: an earlier attempt has done it all. `superseded`: the file is another one by now. */
export type Outcome = { type: 'processed'; rows: number } | { type: 'before' } | { type: 'superseded' };

/** @throws RowError, FormatError; what publishing and the file system reject with */
export async function processFile(
  change: FileChange,
  message: Message,
  options: ProcessingOptions,
): Promise<Outcome> {
  const { settings } = options;
  const done = placeIn(settings.doneDirectory, change, message.messageId);
  const found = await lstat(change.path).catch((error: unknown) => {
    if (isMissing(error)) return null;
    throw error;
  });
  if (!found) {
    if (settings.after === 'move' && (await exists(done))) return { type: 'before' };
    throw new Error(`${change.path} is not there; was it moved or deleted, or is it on another machine?`);
  }
  if (!found.isFile()) throw new Error(`${change.path} is no file`);
  const isOther =
    (change.sizeBytes !== null && change.sizeBytes !== found.size) ||
    // Programs round the nanoseconds of the file system in either direction.
    (change.modifiedAt !== null && Math.abs(Date.parse(change.modifiedAt) - found.mtimeMs) > 1);
  if (isOther) return { type: 'superseded' };

  let rows = 0;
  for await (const _ of transformed(change, options)) rows++;
  await publishRows(change, message, options);
  if (settings.after === 'delete') await rm(change.path, { force: true });
  if (settings.after === 'move') await moveFile(change.path, done);
  return { type: 'processed', rows };
}

async function publishRows(change: FileChange, message: Message, options: ProcessingOptions): Promise<void> {
  const { context, settings, system } = options;
  let first = 1;
  let batch: Row[] = [];
  const flush = async () => {
    if (batch.length === 0) return;
    await context.publisher.publish({
      messageId: `${message.messageId}-${first}`,
      source: context.instanceId,
      timestamp: isoTime(system.clock),
      messageType: settings.outputType,
      contentType: 'application/json',
      content: JSON.stringify({ file: change.relativePath, firstRow: first, rows: batch }),
      properties: { correlationId: message.properties.correlationId ?? message.messageId },
    });
    first += batch.length;
    batch = [];
  };
  for await (const row of transformed(change, options)) {
    batch.push(row);
    if (batch.length === settings.rowsPerMessage) await flush();
  }
  await flush();
}

async function* transformed(
  { path }: FileChange,
  { settings, signal }: ProcessingOptions,
): AsyncGenerator<Row> {
  let number = 0;
  for await (const row of rowsIn(path, settings)) {
    signal.throwIfAborted();
    yield transform(row, settings.mapping, ++number);
  }
}
