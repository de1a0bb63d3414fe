/** What the files of `tests/fixtures/nemesis/register` hold. */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Content } from './history.ts';

/** Read while owners may have it open. */
export function contentOfFile(folder: string, key: string): Content {
  const database = new DatabaseSync(join(folder, `${encodeURIComponent(key)}.sqlite`), { readOnly: true });
  try {
    const all = (query: string) => {
      const statement = database.prepare(query);
      statement.setReadBigInts(true);
      return statement.all();
    };
    return {
      entries: all('SELECT element, fence, owner FROM entries ORDER BY position').map(row => ({
        element: String(row['element']),
        fence: row['fence'] as bigint,
        owner: String(row['owner']),
      })),
      openings: all('SELECT fence, owner, at_ms FROM openings ORDER BY number').map(row => ({
        fence: row['fence'] as bigint,
        owner: String(row['owner']),
        atMs: Number(row['at_ms']),
      })),
    };
  } finally {
    database.close();
  }
}
