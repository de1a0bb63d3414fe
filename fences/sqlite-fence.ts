/**
 * The fence of a SQLite file: one row in the file itself.
 *
 * Why this is safe. A new owner raises the row in a write transaction before it reads anything. Every transaction of an owner reads the
 * row first. SQLite runs it on the snapshot in which the row was read, and lets it write only if that snapshot is still the
 * newest (otherwise SQLITE_BUSY_SNAPSHOT); with BEGIN IMMEDIATE nobody else can write at all meanwhile.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { checkFence, checkTable, fenced } from './fence.ts';

export interface SqliteFenceOptions {
  /** Default `_holdfast_fence`. */
  table?: string;
  /** Who owns it, for example a lease's holder: may install the fence that it has installed already. Default: nobody may. */
  owner?: string;
}

export interface SqliteFence {
  /**
   * Takes the file over. `prepare` runs in the same transaction, for example to make tables; foreign keys are
   * not enforced in it. Call it before you read anything.
   * @throws HoldfastError HF_FENCED when the file has seen this fence or a higher one; SQLite's errors
   */
  install(fence: bigint, prepare?: () => void): void;
  /**
   * Checks the fence inside a transaction of yours, which must have been begun with BEGIN IMMEDIATE: then it holds to the transaction's end.
   * @throws HoldfastError HF_FENCED when the file holds another fence; then roll back
   */
  check(fence: bigint): void;
  /**
   * Runs `work`, which must not be async, in one transaction in which the file holds exactly this fence, and commits it.
   *
   * `lock: 'first'` (the default) takes the file's write lock at once. `'late'` takes it with the first write, so that reading
   * disturbs nobody; a write that meets another writer then rolls back and runs `work` again, up to twice, with the lock first.
   * @throws HoldfastError HF_FENCED when the file holds another fence; what `work` throws, after rolling back; SQLite's errors
   */
  write<Value>(fence: bigint, work: () => Value, options?: { lock?: 'first' | 'late' }): Value;
}

const busyCode = 5;
const errorCode = 1;
const attemptsMax = 3;

/** The database stays the caller's. Must not be inside a transaction when `install` or `write` is called. */
export function createSqliteFence(database: DatabaseSync, options: SqliteFenceOptions = {}): SqliteFence {
  const { table: name = '_holdfast_fence', owner = null } = options;
  checkTable(name);
  const table = name.includes('.') ? name : `main.${name}`;
  let reading: StatementSync | null = null;

  function read(): bigint | null {
    try {
      // Compiled once, as that would cost more than running it.
      reading ??= database.prepare(`SELECT fence FROM ${table} WHERE id = 1`);
      reading.setReadBigInts(true);
      const fence = reading.get()?.['fence'];
      return typeof fence === 'bigint' ? fence : null;
    } catch (error) {
      // Somebody has put another file in place: nobody has installed a fence in this one.
      if (sqliteCode(error) === errorCode && /no such table/.test((error as Error).message)) return null;
      throw error;
    }
  }

  function isInstalledByUs(fence: bigint): boolean {
    if (owner === null) return false;
    const row = database.prepare(`SELECT owner FROM ${table} WHERE id = 1 AND fence = ?`).get(fence);
    return row?.['owner'] === owner;
  }

  function makeTable(): void {
    database.exec(
      `CREATE TABLE IF NOT EXISTS ${table} (id INTEGER PRIMARY KEY CHECK (id = 1), fence INTEGER NOT NULL, owner TEXT)`,
    );
    const [schema, bare] = table.split('.');
    const columns = database.prepare(`PRAGMA ${schema}.table_info(${bare})`).all();
    // Made by a version that did not know owners.
    if (!columns.some(column => column['name'] === 'owner')) {
      database.exec(`ALTER TABLE ${table} ADD COLUMN owner TEXT`);
    }
  }

  function rollBack(): void {
    if (database.isTransaction) database.exec('ROLLBACK'); // some errors have rolled back already
  }

  /** Ours would end the caller's. */
  function refuseTransaction(): void {
    if (database.isTransaction) throw new Error('the database is inside a transaction already');
  }

  function check(fence: bigint): void {
    const found = read();
    if (found !== fence) throw fenced(found ?? 0n);
  }

  function attempt<Value>(fence: bigint, work: () => Value, statement: string): Value {
    refuseTransaction();
    database.exec(statement);
    try {
      check(fence);
      const value = work();
      refuseAsync(value);
      database.exec('COMMIT');
      return value;
    } catch (error) {
      rollBack();
      throw error;
    }
  }

  return {
    check(fence) {
      checkFence(fence);
      if (!database.isTransaction)
        throw new Error('the database is in no transaction; BEGIN IMMEDIATE first, or use write');
      check(fence);
    },
    install(fence, prepare) {
      checkFence(fence);
      const foreignKeys = database.prepare('PRAGMA foreign_keys').get()?.['foreign_keys'] === 1;
      refuseTransaction();
      // A foreign key that names the fence table must not be able to stand in the way.
      database.exec('PRAGMA foreign_keys = OFF');
      try {
        database.exec('BEGIN IMMEDIATE');
        makeTable();
        const found = read();
        if (found !== null && found >= fence && !(found === fence && isInstalledByUs(fence)))
          throw fenced(found);
        database
          .prepare(
            `INSERT INTO ${table} (id, fence, owner) VALUES (1, ?, ?)
             ON CONFLICT (id) DO UPDATE SET fence = excluded.fence, owner = excluded.owner`,
          )
          .run(fence, owner);
        refuseAsync(prepare?.());
        database.exec('COMMIT');
      } catch (error) {
        rollBack();
        throw error;
      } finally {
        if (foreignKeys) database.exec('PRAGMA foreign_keys = ON');
      }
    },
    write(fence, work, { lock = 'first' } = {}) {
      for (let count = 1; ; count++) {
        try {
          return attempt(fence, work, lock === 'late' && count === 1 ? 'BEGIN' : 'BEGIN IMMEDIATE');
        } catch (error) {
          const busy = (sqliteCode(error) ?? 0) % 256 === busyCode;
          if (lock === 'late' && busy && count < attemptsMax) continue;
          throw error;
        }
      }
    },
  };
}

function refuseAsync(value: unknown): void {
  if (!(value instanceof Promise)) return;
  value.catch(() => {
    // What is thrown here says more.
  });
  throw new TypeError('work must not be async: the transaction would end before it');
}

/** SQLite's extended result code, null if the error is not SQLite's. */
function sqliteCode(error: unknown): number | null {
  return error instanceof Error && 'errcode' in error ? Number(error.errcode) : null;
}
