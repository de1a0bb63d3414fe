/** What a message says of a file. Believed only as far as it names a file below the folder. */
import { join, sep } from 'node:path';
import type { Json, Message } from '#core';

export interface FileChange {
  relativePath: string;
  /** Absolute. */
  path: string;
  /** Null: the message does not say. */
  sizeBytes: number | null;
  modifiedAt: string | null;
}

/** @throws Error that says what the message lacks */
export function readChange(message: Message, folder: string): FileChange {
  const content = parse(message);
  const { relativePath, sizeBytes, modifiedAt } = content;
  if (typeof relativePath !== 'string' || relativePath === '' || relativePath.includes('\0')) {
    throw new Error(`the message ${message.messageId} names no file: its content has no relativePath`);
  }
  const path = join(folder, relativePath);
  if (!path.startsWith(folder.endsWith(sep) ? folder : folder + sep)) {
    throw new Error(`${relativePath} is not below ${folder}`);
  }
  return {
    relativePath,
    path,
    sizeBytes: typeof sizeBytes === 'number' ? sizeBytes : null,
    modifiedAt: typeof modifiedAt === 'string' ? modifiedAt : null,
  };
}

function parse(message: Message): Record<string, Json> {
  try {
    const content = JSON.parse(message.content ?? '') as Json;
    if (typeof content === 'object' && content !== null && !Array.isArray(content)) return content;
  } catch {
    // said below
  }
  throw new Error(`the content of the message ${message.messageId} is no JSON object`);
}
