/** Requests that wait for a message with their correlation id. */
import type { Message, System } from '#core';
import { refuse } from './refusal.ts';

export interface Replies {
  /**
   * Begins to wait; call it before the message is published, as the reply may be quicker than the confirmation.
   * Rejects with HF_REPLY_TIMEOUT, or the signal's reason.
   */
  wait(correlationId: string, deadlineMs: number, signal: AbortSignal): Promise<Message>;
  /** Whether somebody waited for it. */
  arrived(message: Message): boolean;
}

export function createReplies(system: System): Replies {
  const waiting = new Map<string, Set<(message: Message) => void>>();
  return {
    wait(correlationId, deadlineMs, signal) {
      return new Promise((resolve, reject) => {
        const end = () => {
          cancel();
          signal.removeEventListener('abort', abort);
          others.delete(settle);
          if (others.size === 0) waiting.delete(correlationId);
        };
        const settle = (message: Message) => {
          end();
          resolve(message);
        };
        const abort = () => {
          end();
          reject(signal.reason as Error);
        };
        const others = waiting.get(correlationId) ?? new Set();
        waiting.set(correlationId, others.add(settle));
        const cancel = system.timers.after(deadlineMs, () => {
          end();
          const text = `the message ${correlationId} is published, but no reply came within ${deadlineMs} ms`;
          reject(refuse('HF_REPLY_TIMEOUT', text, { messageId: correlationId }));
        });
        if (signal.aborted) abort();
        else signal.addEventListener('abort', abort, { once: true });
      });
    },
    arrived(message) {
      const settles = waiting.get(message.properties.correlationId ?? '');
      for (const settle of settles ?? []) settle(message);
      return settles !== undefined;
    },
  };
}
