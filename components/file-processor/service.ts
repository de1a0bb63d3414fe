/**
 * The component: takes messages about files, and gives up a file after `attemptsMax` attempts: it goes to the error folder, with the reason beside
 * it, and the message is done with.
 */
import {
  isoTime,
  writeFileDurably,
  type Component,
  type ComponentContext,
  type Message,
  type System,
} from '#core';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { readChange, type FileChange } from './change.ts';
import { exists, moveFile, placeIn } from './places.ts';
import { processFile } from './processing.ts';
import { readSettings, type ProcessorSettings } from './settings.ts';

/** Attempts that end with the process count too. */
const crashesMax = 20;

export function createService(context: ComponentContext, system: System): Component {
  let settings: ProcessorSettings;
  const counts = { processed: 0, rows: 0, before: 0, superseded: 0, givenUp: 0 };

  async function giveUp(
    change: FileChange,
    message: Message,
    attempts: number,
    error: unknown,
  ): Promise<void> {
    const place = placeIn(settings.errorDirectory, change, message.messageId);
    const reason = error instanceof Error ? error.message : String(error);
    await mkdir(dirname(place), { recursive: true });
    await writeFileDurably(
      `${place}.reason.json`,
      `${JSON.stringify({ reason, file: change.path, messageId: message.messageId, attempts, at: isoTime(system.clock) }, null, 2)}\n`,
    );
    if (await exists(change.path)) await moveFile(change.path, place);
    counts.givenUp++;
    context.log.error(
      { err: error, file: change.path, movedTo: place, attempts },
      'a file could not be processed',
    );
  }

  return {
    async start() {
      settings = readSettings(context.settings, context.dataDirectory);
      const { concurrency, attemptsMax } = settings;
      for (const messageType of settings.messageTypes) {
        context.subscribe(messageType, { concurrency, maxDeliver: attemptsMax + crashesMax });
      }
    },
    async stop() {},
    async onMessage(message, { attempt, signal }) {
      const change = readChange(message, settings.folder);
      try {
        const outcome = await processFile(change, message, { context, settings, system, signal });
        if (outcome.type === 'processed') counts.rows += outcome.rows;
        counts[outcome.type]++;
        context.log.info({ file: change.path, ...outcome }, 'file');
      } catch (error) {
        if (signal.aborted || attempt < settings.attemptsMax || isPublishing(error)) throw error;
        await giveUp(change, message, attempt, error);
      }
    },
    fetch() {
      const { instanceId, processId, nodeName } = context;
      return Response.json({ instanceId, processId, node: nodeName, folder: settings.folder, ...counts });
    },
  };
}

/** The medium has no room: that is not the file's fault, and goes away. */
function isPublishing(error: unknown): boolean {
  return ['HF_OUTBOX_FULL', 'HF_WRONG_STATE', 'HF_UNAVAILABLE'].includes(
    (error as { code?: string }).code ?? '',
  );
}
