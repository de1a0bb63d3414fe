/**
 * What a caller's SQL may touch. SQLite asks while it compiles a statement, and again while it compiles what triggers,
 * views and virtual tables run. Transactions belong to the service, other files are out of reach, and names that begin
 * with `_holdfast` are the service's own (the fence).
 */
import { constants as sqlite } from 'node:sqlite';

export const RESERVED_PREFIX = '_holdfast';

/** What SQLite asks: an action code and its names, see https://www.sqlite.org/c3ref/c_alter_table.html. */
export interface Question {
  action: number;
  first: string | null;
  second: string | null;
}

/** What a permitted action does to the database. */
export type Effect = 'none' | 'rows' | 'insert' | 'schema';

export type Verdict = { allowed: true; effect: Effect } | { allowed: false; reason: string };

const deny = (reason: string): Verdict => ({ allowed: false, reason });
const allow = (effect: Effect): Verdict => ({ allowed: true, effect });

const temporary = new Set([
  sqlite.SQLITE_CREATE_TEMP_INDEX,
  sqlite.SQLITE_CREATE_TEMP_TABLE,
  sqlite.SQLITE_CREATE_TEMP_TRIGGER,
  sqlite.SQLITE_CREATE_TEMP_VIEW,
]);
const schemaChanges = new Set([
  sqlite.SQLITE_CREATE_INDEX,
  sqlite.SQLITE_CREATE_TABLE,
  sqlite.SQLITE_CREATE_TRIGGER,
  sqlite.SQLITE_CREATE_VIEW,
  sqlite.SQLITE_DROP_INDEX,
  sqlite.SQLITE_DROP_TABLE,
  sqlite.SQLITE_DROP_TRIGGER,
  sqlite.SQLITE_DROP_VIEW,
  sqlite.SQLITE_DROP_VTABLE,
  sqlite.SQLITE_ALTER_TABLE,
  sqlite.SQLITE_REINDEX,
]);
/** Virtual tables that keep their data inside the database and reach nothing else. */
const modules = new Set(['fts3', 'fts4', 'fts5', 'fts5vocab', 'rtree', 'rtree_i32', 'geopoly']);
const functions = new Set(['load_extension', 'fts3_tokenizer']);
/** Pragmas whose argument, if any, names what to look at. */
const inspecting = new Set([
  'collation_list',
  'compile_options',
  'foreign_key_check',
  'foreign_key_list',
  'function_list',
  'index_info',
  'index_list',
  'index_xinfo',
  'integrity_check',
  'module_list',
  'pragma_list',
  'quick_check',
  'table_info',
  'table_list',
  'table_xinfo',
]);
/** Pragmas that may only be read. Some virtual tables read them as well. */
const readable = new Set([
  'data_version',
  'encoding',
  'foreign_keys',
  'freelist_count',
  'journal_mode',
  'page_count',
  'page_size',
  'schema_version',
]);
/** Pragmas that keep a number in the database for its users, and one that ends with the transaction. */
const writable = new Set(['application_id', 'user_version', 'defer_foreign_keys', 'optimize']);

/** Pure: the same question gets the same verdict. */
export function judge({ action, first, second }: Question): Verdict {
  switch (action) {
    case sqlite.SQLITE_TRANSACTION:
    case sqlite.SQLITE_SAVEPOINT:
      return deny('each request is one transaction already; send several statements in one request');
    case sqlite.SQLITE_ATTACH:
    case sqlite.SQLITE_DETACH:
      return deny('a request reaches one database only');
    case sqlite.SQLITE_PRAGMA:
      return judgePragma((first ?? '').toLowerCase(), second);
    case sqlite.SQLITE_FUNCTION:
      return functions.has((second ?? '').toLowerCase())
        ? deny(`the function ${second} is not available`)
        : allow('none');
    case sqlite.SQLITE_ANALYZE:
      return allow('schema'); // statistics of the fence table do no harm, and refusing them would refuse ANALYZE
  }
  if (temporary.has(action))
    return deny('temporary tables, views and triggers do not outlive a request; use WITH');
  if (isReserved(first) || isReserved(second)) {
    return deny(`names that begin with ${RESERVED_PREFIX} belong to the service`);
  }
  if (first?.toLowerCase() === 'sqlite_dbpage') return deny('raw pages are out of reach');
  if (action === sqlite.SQLITE_CREATE_VTABLE) {
    return modules.has((second ?? '').toLowerCase())
      ? allow('schema')
      : deny(`virtual tables of ${second} are not available`);
  }
  if (schemaChanges.has(action)) return allow('schema');
  if (action === sqlite.SQLITE_INSERT) return allow(isCatalog(first) ? 'schema' : 'insert');
  if (action === sqlite.SQLITE_UPDATE || action === sqlite.SQLITE_DELETE) {
    return allow(isCatalog(first) ? 'schema' : 'rows');
  }
  if (
    action === sqlite.SQLITE_SELECT ||
    action === sqlite.SQLITE_READ ||
    action === sqlite.SQLITE_RECURSIVE
  ) {
    return allow('none');
  }
  return deny('this is not available'); // whatever a newer SQLite may add
}

function judgePragma(name: string, argument: string | null): Verdict {
  if (inspecting.has(name)) return allow('none');
  if (readable.has(name) && argument === null) return allow('none');
  if (writable.has(name)) return allow(argument === null && name !== 'optimize' ? 'none' : 'schema');
  return deny(`PRAGMA ${name}${argument === null ? '' : ' with a value'} is not available`);
}

/** SQLite compares names without regard to the case of ASCII letters. */
function isReserved(name: string | null): boolean {
  return name !== null && name.toLowerCase().startsWith(RESERVED_PREFIX);
}

function isCatalog(name: string | null): boolean {
  return /^sqlite_(?:temp_)?(?:master|schema)$/i.test(name ?? '');
}
