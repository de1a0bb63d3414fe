/** Whether the server and the role can be a source, and the publication. Every refusal says what a database administrator has to type. */
import type pg from 'pg';
import { quote, quoteTable } from '../names.ts';
import { schemaAndName, textRows } from '../postgres-connection.ts';
import { codeOf, refused } from '../problem.ts';
import type { TablePair } from '../schema/schema-check.ts';

const versionMin = 130_000;
const insufficientPrivilege = '42501';

/** @throws ReplicationProblem HF_REPLICATION_REFUSED */
export async function checkServer(client: pg.Client, pairs: readonly TablePair[]): Promise<void> {
  const [facts = []] = await textRows(
    client,
    `SELECT current_setting('server_version_num'), current_setting('wal_level'), current_user,
       (SELECT (rolreplication OR rolsuper)::text FROM pg_roles WHERE rolname = current_user), pg_is_in_recovery()::text`,
  );
  const [version, walLevel, user, mayReplicate, standby] = facts;
  if (Number(version) < versionMin)
    throw refused(`the source is PostgreSQL ${version}, expected 13 or newer`);
  if (standby === 'true')
    throw refused('the source is a standby, expected the primary: name that in `source.url`');
  if (walLevel !== 'logical') {
    throw refused(
      `the source's wal_level is ${walLevel}, expected logical: run ALTER SYSTEM SET wal_level = logical, and restart PostgreSQL`,
    );
  }
  if (mayReplicate !== 'true') {
    throw refused(
      `the source's role ${user} may not replicate: run ALTER ROLE ${quote(user ?? '')} REPLICATION as a superuser`,
    );
  }
  for (const { source } of pairs) await checkTable(client, source, user ?? '');
}

async function checkTable(client: pg.Client, table: string, user: string): Promise<void> {
  const name = quoteTable(schemaAndName(table).join('.'));
  const [row] = await textRows(
    client,
    `SELECT relreplident::text, has_table_privilege(oid, 'SELECT')::text FROM pg_class WHERE oid = to_regclass($1)`,
    [name],
  );
  if (!row) return; // the schema check has the better words
  const [identity, mayRead] = row;
  if (identity !== 'd' && identity !== 'f') {
    throw refused(
      `the source's table ${table} does not tell which row was changed: run ALTER TABLE ${name} REPLICA IDENTITY DEFAULT`,
    );
  }
  if (mayRead !== 'true') {
    throw refused(
      `the source's role ${user} may not read ${table}: run GRANT SELECT ON ${name} TO ${quote(user)}`,
    );
  }
}

/** Makes the publication, or changes it to these tables. @throws ReplicationProblem HF_REPLICATION_REFUSED */
export async function makePublication(
  client: pg.Client,
  publication: string,
  pairs: readonly TablePair[],
): Promise<void> {
  const wanted = pairs.map(pair => schemaAndName(pair.source).join('.'));
  const [found] = await textRows(
    client,
    `SELECT (pubinsert AND pubupdate AND pubdelete AND pubtruncate AND NOT puballtables)::text FROM pg_publication WHERE pubname = $1`,
    [publication],
  );
  if (found && found[0] !== 'true') {
    throw refused(
      `the source's publication ${publication} leaves out kinds of changes, or has all tables: drop it, and it is made again`,
    );
  }
  const tables = await textRows(
    client,
    'SELECT schemaname || $2 || tablename FROM pg_publication_tables WHERE pubname = $1',
    [publication, '.'],
  );
  const same = new Set([...wanted, ...tables.map(row => row[0])]).size === wanted.length;
  if (found && same && tables.length === wanted.length) return;
  const list = wanted.map(quoteTable).join(', ');
  const statement = found
    ? `ALTER PUBLICATION ${quote(publication)} SET TABLE ${list}`
    : `CREATE PUBLICATION ${quote(publication)} FOR TABLE ${list}`;
  try {
    await client.query(statement);
  } catch (error) {
    if (codeOf(error) !== insufficientPrivilege) throw error;
    throw refused(
      `the source's role may not make the publication (${(error as Error).message}): run this as the owner of the tables, or give the role CREATE on the database and ownership of the tables: ${statement}`,
    );
  }
}
