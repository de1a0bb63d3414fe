/** Publishes what the cursor holds, in order, and tries for as long as it takes: the files' changes wait on disk meanwhile. */
import { join } from 'node:path';
import type { Message } from '#core';
import type { Cursor, StoredEvent } from './cursor.ts';
import type { WatcherOptions } from './watcher.ts';

const atATime = 100;
const retryMs = { first: 200, max: 10_000 };

/** Resolves when all is published, or the signal has aborted. */
export async function publishWaiting(
  cursor: Cursor,
  options: WatcherOptions,
  onProblem: (problem: string) => void,
): Promise<void> {
  const { context, system, signal } = options;
  let delayMs = retryMs.first;
  for (;;) {
    const batch = cursor.unpublished(atATime);
    if (batch.length === 0) return;
    let done = 0;
    try {
      for (const { sequence, ...stored } of batch) {
        if (signal.aborted) return;
        await context.publisher.publish(toMessage({ sequence, ...stored }, cursor.id, options));
        done = sequence;
        delayMs = retryMs.first;
      }
    } catch (error) {
      context.log.warn({ err: error, retryInMs: delayMs }, 'a change could not be published');
      onProblem(`changes wait, because publishing fails: ${(error as Error).message}`);
      await system.timers.sleep(delayMs, signal).catch(() => {}); // aborted: seen at the next step
      delayMs = Math.min(2 * delayMs, retryMs.max);
    } finally {
      if (done > 0) cursor.published(done);
    }
  }
}

function toMessage(
  { sequence, detectedAt, event }: StoredEvent,
  cursorId: string,
  options: WatcherOptions,
): Message {
  const { context, settings, fence } = options;
  const facts = event.type === 'deleted' ? null : event.facts;
  return {
    messageId: `${context.instanceId}-${cursorId}-${sequence}`,
    source: context.instanceId,
    timestamp: detectedAt,
    messageType: `${settings.messageType}.${event.type}`,
    contentType: 'application/json',
    content: JSON.stringify({
      event: event.type,
      path: join(settings.folder, event.path),
      relativePath: event.path,
      ...(event.type === 'renamed'
        ? { previousPath: join(settings.folder, event.from), previousRelativePath: event.from }
        : {}),
      ...(facts
        ? {
            sizeBytes: facts.size,
            modifiedAt: new Date(Number(BigInt(facts.modified) / 1_000_000n)).toISOString(),
            inode: facts.inode,
          }
        : {}),
    }),
    properties: { node: context.nodeName, sequence: String(sequence), fence: String(fence) },
  };
}
