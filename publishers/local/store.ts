/**
 * Messages on SQLite: a message once, and for each group of its subject a row that says whether it is free or who has it. Acknowledging takes
 * the row away, and the message with the last one: what everybody has handled takes no room. A message that no group has asked for is not kept.
 *
 * Every function here runs inside a transaction of the caller. Times are those of the machine's boot clock, which all its processes share.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { BuriedMessage, WireMessage } from '#messaging';

export interface Taken {
  seq: number;
  attempt: number;
  message: WireMessage;
}

/** A consumer as the file knows it: what a process that is gone had taken is found by it. */
export interface ConsumerRow {
  id: string;
  pid: number;
  startTime: string;
  untilMs: number;
}

export type Store = ReturnType<typeof createStore>;

const schema = `
  CREATE TABLE IF NOT EXISTS boot (id TEXT PRIMARY KEY);
  CREATE TABLE IF NOT EXISTS message_group (
    id INTEGER PRIMARY KEY AUTOINCREMENT, subject TEXT NOT NULL, name TEXT NOT NULL, waiting INTEGER NOT NULL DEFAULT 0,
    UNIQUE (subject, name));
  CREATE TABLE IF NOT EXISTS message (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, subject TEXT NOT NULL, message_id TEXT NOT NULL, headers TEXT NOT NULL,
    body BLOB NOT NULL, copies INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS delivery (
    group_id INTEGER NOT NULL, seq INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, owner TEXT,
    PRIMARY KEY (group_id, seq)) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS taken ON delivery (owner) WHERE owner IS NOT NULL;
  CREATE TABLE IF NOT EXISTS recent (
    subject TEXT NOT NULL, message_id TEXT NOT NULL, until_ms INTEGER NOT NULL,
    PRIMARY KEY (subject, message_id)) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS recent_until ON recent (until_ms);
  CREATE TABLE IF NOT EXISTS consumer (
    id TEXT PRIMARY KEY, pid INTEGER NOT NULL, start_time TEXT NOT NULL, until_ms INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS dead (
    id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL, subject TEXT NOT NULL, message_id TEXT NOT NULL,
    headers TEXT NOT NULL, body BLOB NOT NULL, reason TEXT NOT NULL, attempts INTEGER NOT NULL, failed_at TEXT NOT NULL);
  CREATE INDEX IF NOT EXISTS dead_group ON dead (group_id, id);
`;

/** Ids forgotten with each message that is stored: more than are added, so that the table shrinks. */
const forgottenAtOnce = 4;

export function createStore(
  database: DatabaseSync,
  limits: { messagesMax: number; deadLettersMax: number; duplicateWindowMs: number },
) {
  database.exec(schema);
  const sql = (text: string) => database.prepare(text);
  const groupsOf = sql('SELECT id, name, waiting FROM message_group WHERE subject = ?');
  const groupId = sql('SELECT id FROM message_group WHERE subject = ? AND name = ?');
  const makeGroup = sql('INSERT OR IGNORE INTO message_group (subject, name) VALUES (?, ?)');
  const addWaiting = sql('UPDATE message_group SET waiting = waiting + ? WHERE id = ?');
  const known = sql('SELECT 1 FROM recent WHERE subject = ? AND message_id = ? AND until_ms > ?');
  const remember = sql('INSERT OR REPLACE INTO recent (subject, message_id, until_ms) VALUES (?, ?, ?)');
  const forget = sql(
    `DELETE FROM recent WHERE (subject, message_id) IN
       (SELECT subject, message_id FROM recent WHERE until_ms <= ? ORDER BY until_ms LIMIT ${forgottenAtOnce})`,
  );
  const addMessage = sql(
    'INSERT INTO message (subject, message_id, headers, body, copies) VALUES (?, ?, ?, ?, ?) RETURNING seq',
  );
  const addDelivery = sql('INSERT INTO delivery (group_id, seq) VALUES (?, ?)');
  const free = sql('SELECT 1 FROM delivery WHERE group_id = ? AND owner IS NULL LIMIT 1');
  const take = sql(
    `UPDATE delivery SET owner = :owner, attempts = attempts + 1 WHERE group_id = :group AND seq IN
       (SELECT seq FROM delivery WHERE group_id = :group AND owner IS NULL ORDER BY seq LIMIT :limit)
     RETURNING seq, attempts`,
  );
  const read = sql('SELECT subject, message_id, headers, body FROM message WHERE seq = ?');
  const settle = sql('DELETE FROM delivery WHERE group_id = ? AND seq = ? AND (owner = ? OR owner IS NULL)');
  const held = sql('SELECT 1 FROM delivery WHERE group_id = ? AND seq = ? AND owner = ?');
  const dropCopy = sql('UPDATE message SET copies = copies - 1 WHERE seq = ? RETURNING copies');
  const dropMessage = sql('DELETE FROM message WHERE seq = ?');
  const release = sql(
    'UPDATE delivery SET owner = NULL, attempts = attempts - 1 WHERE group_id = ? AND seq = ? AND owner = ?',
  );
  const freeAll = sql('UPDATE delivery SET owner = NULL WHERE owner = ?');
  const freeGroup = sql('UPDATE delivery SET owner = NULL WHERE group_id = ? AND owner IS NOT NULL');
  const putConsumer = sql(
    'INSERT OR REPLACE INTO consumer (id, pid, start_time, until_ms) VALUES (:id, :pid, :startTime, :untilMs)',
  );
  const dropConsumer = sql('DELETE FROM consumer WHERE id = ?');
  const consumers = sql('SELECT id, pid, start_time AS startTime, until_ms AS untilMs FROM consumer');
  const addDead = sql(
    `INSERT INTO dead (group_id, subject, message_id, headers, body, reason, attempts, failed_at)
       SELECT ?, subject, message_id, headers, body, ?, ?, ? FROM message WHERE seq = ?`,
  );
  const trimDead = sql(
    `DELETE FROM dead WHERE group_id = :group AND id <=
       (SELECT id FROM dead WHERE group_id = :group ORDER BY id DESC LIMIT 1 OFFSET :kept)`,
  );
  const listDead = sql(
    `SELECT dead.*, message_group.name AS group_name FROM dead JOIN message_group ON message_group.id = dead.group_id
       WHERE dead.id > :after AND (:group IS NULL OR message_group.name = :group) ORDER BY dead.id LIMIT :limit`,
  );
  const takeDead = sql('DELETE FROM dead WHERE id = ? RETURNING *');

  function removeDelivery(group: number, seq: number, owner: string): boolean {
    if (settle.run(group, seq, owner).changes === 0) return false;
    addWaiting.run(-1, group);
    if ((dropCopy.get(seq)?.copies as number) <= 0) dropMessage.run(seq);
    return true;
  }

  return {
    /** The groups whose backlog is full; nothing is stored then. */
    publish({ subject, messageId, headers, body }: WireMessage, nowMs: number): string[] {
      forget.run(nowMs);
      if (known.get(subject, messageId, nowMs)) return [];
      const groups = groupsOf.all(subject) as unknown as { id: number; name: string; waiting: number }[];
      const full = groups.filter(({ waiting }) => waiting >= limits.messagesMax);
      if (full.length > 0) return full.map(({ name }) => name);
      remember.run(subject, messageId, nowMs + limits.duplicateWindowMs);
      if (groups.length === 0) return [];
      const { seq } = addMessage.get(subject, messageId, JSON.stringify(headers), body, groups.length) as {
        seq: number;
      };
      for (const { id } of groups) {
        addDelivery.run(id, seq);
        addWaiting.run(1, id);
      }
      return [];
    },
    group(subject: string, name: string): number {
      makeGroup.run(subject, name);
      return groupId.get(subject, name)!.id as number;
    },
    hasFree: (group: number): boolean => free.get(group) !== undefined,
    /** The oldest free ones, in order. */
    take(group: number, owner: string, limit: number): Taken[] {
      const rows = take.all({ group, owner, limit }) as unknown as { seq: number; attempts: number }[];
      return rows
        .sort((a, b) => a.seq - b.seq)
        .map(({ seq, attempts }) => ({ seq, attempt: attempts, message: toWire(read.get(seq)!) }));
    },
    /** False: somebody else has it now. */
    ack: removeDelivery,
    release: (group: number, seq: number, owner: string) => void release.run(group, seq, owner),
    bury(
      group: number,
      seq: number,
      owner: string,
      facts: { reason: string; attempts: number; failedAt: string },
    ): void {
      if (!held.get(group, seq, owner)) return; // somebody else has it now
      addDead.run(group, facts.reason, facts.attempts, facts.failedAt, seq);
      removeDelivery(group, seq, owner);
      trimDead.run({ group, kept: limits.deadLettersMax });
    },
    /** Whatever anybody of the group has is free again. */
    freeGroup: (group: number) => void freeGroup.run(group),
    putConsumer: (row: ConsumerRow) => void putConsumer.run({ ...row }),
    consumers: () => consumers.all() as unknown as ConsumerRow[],
    /** Its messages are free again. */
    endConsumer(id: string): void {
      freeAll.run(id);
      dropConsumer.run(id);
    },
    deadLetters: (query: { group: string | null; limit: number; after: number }): BuriedMessage[] =>
      listDead.all(query).map(row => ({
        id: String(row.id),
        group: row.group_name as string,
        message: toWire(row),
        reason: row.reason as string,
        attempts: row.attempts as number,
        failedAt: row.failed_at as string,
      })),
    /** The subject, or null when there is none with this id. */
    replay(id: number): string | null {
      const row = takeDead.get(id);
      if (!row) return null;
      const subject = row.subject as string;
      const added = addMessage.get(subject, row.message_id!, row.headers!, row.body!, 1) as { seq: number };
      addDelivery.run(row.group_id!, added.seq);
      addWaiting.run(1, row.group_id!);
      return subject;
    },
    removeDead: (id: number): boolean => takeDead.get(id) !== undefined,
    /** Times and processes of another boot mean nothing: nobody of then has anything now. */
    beginBoot(id: string, nowMs: number): void {
      if (sql('SELECT 1 FROM boot WHERE id = ?').get(id)) return;
      database.exec(
        'DELETE FROM boot; DELETE FROM consumer; UPDATE delivery SET owner = NULL WHERE owner IS NOT NULL',
      );
      sql('UPDATE recent SET until_ms = ?').run(nowMs + limits.duplicateWindowMs);
      sql('INSERT INTO boot (id) VALUES (?)').run(id);
    },
  };
}

function toWire(row: Record<string, unknown>): WireMessage {
  const body = row.body as Uint8Array;
  return {
    subject: row.subject as string,
    messageId: row.message_id as string,
    headers: JSON.parse(row.headers as string) as Record<string, string>,
    body: Buffer.from(body.buffer, body.byteOffset, body.byteLength),
  };
}
