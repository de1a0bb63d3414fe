/** `DocumentStore` on Redis. */
import { HoldfastError, type DocumentStore, type StoredDocument } from '#core';
import { invalid, text } from '../embedded/arguments.ts';
import type { Connection } from './connection.ts';
import type { Watching } from './events.ts';
import { readDocumentScript, writeDocumentScript } from './scripts/document-scripts.ts';

const documentBytesMax = 4 * 1024 * 1024;

export function createRedisDocuments(connection: Connection, watching: Watching): DocumentStore {
  const get = (name: string) => readDocument(connection, name);
  return {
    get,
    async put(given, content, expectedEtag) {
      const name = text({ name: given }, 'name');
      if (typeof content !== 'string' || Buffer.byteLength(content) > documentBytesMax) {
        throw invalid('content', `text of at most ${documentBytesMax} bytes`);
      }
      if (expectedEtag === '') return { written: false, current: await get(name) };
      const args = [name, content, expectedEtag ?? ''];
      try {
        const reply = (await connection.call(writeDocumentScript, args, { again: false })) as string[];
        if (reply[0] === '1') return { written: true, etag: reply[1]! };
        const [, found, etag] = reply;
        return { written: false, current: etag === '' ? null : { content: found!, etag: etag! } };
      } catch (error) {
        if (!(error instanceof HoldfastError) || error.code !== 'HF_COORDINATION_UNAVAILABLE') throw error;
        // Cut off: it may have been written. What lies there now tells, unless it holds another writer's words.
        const current = await get(name);
        if (current && current.etag !== expectedEtag && current.content === content) {
          return { written: true, etag: current.etag };
        }
        throw error;
      }
    },
    watch: (name, listener) => watching.watchDocument(text({ name }, 'name'), listener),
  };
}

export async function readDocument(connection: Connection, name: string): Promise<StoredDocument | null> {
  const args = [text({ name }, 'name')];
  const [content, etag] = (await connection.call(readDocumentScript, args, { again: true })) as string[];
  return etag === undefined ? null : { content: content!, etag };
}
