/**
 * The slot: what keeps the log of the source until the target has it. One that nobody reads keeps the log until the disk is full; so what
 * it keeps is looked at, and an operator is warned while there is time.
 */
import type pg from 'pg';
import { textRows } from '../postgres-connection.ts';
import { codeOf, halted, refused } from '../problem.ts';
import { parseLsn } from './lsn.ts';
import type { Backlog } from './source.ts';

const undefinedObject = '42704';
const tooMany = '53400';
const warnBytes = 1024 ** 3;

export async function createSlot(client: pg.Client, slot: string): Promise<string> {
  try {
    const [row] = await textRows(
      client,
      `SELECT lsn::text FROM pg_create_logical_replication_slot($1, 'pgoutput')`,
      [slot],
    );
    return row?.[0] ?? '';
  } catch (error) {
    if (codeOf(error) !== tooMany) throw error;
    throw refused(
      'all replication slots of the source are in use: drop those that nobody reads (pg_replication_slots), or raise max_replication_slots',
    );
  }
}

/** Gone is as good as dropped; one that is in use again is somebody's. */
export async function dropSlot(client: pg.Client, slot: string): Promise<void> {
  try {
    await client.query('SELECT pg_drop_replication_slot($1)', [slot]);
  } catch (error) {
    const code = codeOf(error);
    if (code !== undefinedObject && code !== '55006') throw error;
  }
}

const copyAgain = 'raise `generation` in the settings to copy all rows again';

/** @throws ReplicationProblem HF_REPLICATION_HALTED when changes after the position are lost */
export async function checkSlot(client: pg.Client, slot: string, position: string): Promise<void> {
  const [row] = await textRows(
    client,
    'SELECT confirmed_flush_lsn::text, wal_status FROM pg_replication_slots WHERE slot_name = $1',
    [slot],
  );
  if (!row) {
    throw halted(
      `the source's slot ${slot} is gone, and with it the changes since ${position}: ${copyAgain}`,
    );
  }
  const [confirmed, status] = row;
  if (status === 'lost') {
    throw halted(
      `the source has thrown away changes that the slot ${slot} needs (max_slot_wal_keep_size): ${copyAgain}`,
    );
  }
  if (confirmed && parseLsn(confirmed) > parseLsn(position)) {
    throw halted(
      `the target is as of ${position}, but had confirmed ${confirmed} before, so it was set back (a restored backup?), and the source has forgotten what is missing: ${copyAgain}`,
    );
  }
}

export async function slotBacklog(client: pg.Client, slot: string, position: string): Promise<Backlog> {
  const [row] = await textRows(
    client,
    `SELECT (pg_current_wal_lsn() - $2::pg_lsn)::text, (pg_current_wal_lsn() - restart_lsn)::text, wal_status,
       current_setting('max_slot_wal_keep_size') FROM pg_replication_slots WHERE slot_name = $1`,
    [slot, position],
  );
  if (!row) return { rows: 0, bytes: null, oldestMs: null, warnings: [`the slot ${slot} is gone`] };
  const [behind, kept, status, limit] = row;
  const warnings: string[] = [];
  if (limit === '-1') {
    warnings.push(
      'max_slot_wal_keep_size of the source is -1: if nobody reads the slot, the log grows until the disk is full; set a bound',
    );
  }
  if (Number(kept) > warnBytes || status === 'unreserved' || status === 'lost') {
    warnings.push(`the slot ${slot} keeps ${kept} bytes of log in the source (wal_status ${status})`);
  }
  return { rows: 0, bytes: Math.max(0, Number(behind)), oldestMs: null, warnings };
}
