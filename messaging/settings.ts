/** Settings that every publisher with a broker has; its manifest declares those that it offers, with bounds. */
import type { Settings } from '#core';
import type { OutboxLimits } from './outbox/outbox.ts';

export interface PublisherSettings {
  /** The largest content of a message. */
  contentBytesMax: number;
  outbox: OutboxLimits;
  /** After how long without an answer the broker counts as away. */
  publishTimeoutMs: number;
  /** For how long the same `messageId` means the same message. */
  duplicateWindowMs: number;
}

const defaults = {
  contentBytesMax: 1024 * 1024,
  outboxMessagesMax: 100_000,
  outboxBytesMax: 256 * 1024 * 1024,
  publishTimeoutMs: 5_000,
  duplicateWindowMs: 120_000,
};

export function readPublisherSettings(settings: Settings): PublisherSettings {
  const value = (name: keyof typeof defaults): number => {
    const given = settings[name];
    return typeof given === 'number' ? given : defaults[name];
  };
  return {
    contentBytesMax: value('contentBytesMax'),
    outbox: { messagesMax: value('outboxMessagesMax'), bytesMax: value('outboxBytesMax') },
    publishTimeoutMs: value('publishTimeoutMs'),
    duplicateWindowMs: value('duplicateWindowMs'),
  };
}
