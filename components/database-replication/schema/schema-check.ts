/** Whether the tables of source and target fit: pure. The answer is a plan for each table, or everything that does not fit and how to mend it. */
import type { Cell } from '../cells.ts';
import { quote, quoteTable } from '../names.ts';
import type { ColumnPlan, ColumnShape, TablePlan, TableShape } from './plan.ts';
import { affinityOf, misfit, postgresTypeFor, sqliteTypeFor, toPostgres, toSqlite } from './values.ts';

export type DatabaseKind = 'postgres' | 'sqlite';

export interface TablePair {
  readonly source: string;
  readonly target: string;
}

export interface Side {
  readonly kind: DatabaseKind;
  readonly shapes: ReadonlyMap<string, TableShape>;
}

export type SchemaVerdict =
  | { readonly fits: true; readonly tables: readonly TablePlan[] }
  | { readonly fits: false; readonly problems: readonly string[] };

export function checkSchemas(pairs: readonly TablePair[], source: Side, target: Side): SchemaVerdict {
  const problems: string[] = [];
  const tables: TablePlan[] = [];
  pairs.forEach((pair, index) => {
    const found = checkTable(pair, { source, target, index });
    if (Array.isArray(found)) problems.push(...(found as string[]));
    else tables.push(found as TablePlan);
  });
  return problems.length > 0 ? { fits: false, problems } : { fits: true, tables };
}

function checkTable(
  pair: TablePair,
  { source, target, index }: { source: Side; target: Side; index: number },
): TablePlan | string[] {
  const from = source.shapes.get(pair.source);
  if (!from) {
    return [`the source has no table ${pair.source}; make it, or take it off \`tables\` in the settings`];
  }
  if (from.key.length === 0) {
    return [
      `the source's table ${pair.source} has no primary key, by which rows are told apart; give it one`,
    ];
  }
  const nullable = from.columns.filter(column => from.key.includes(column.name) && column.nullable);
  if (nullable.length > 0) {
    const names = nullable.map(column => column.name).join(', ');
    return [
      `the primary key of the source's table ${pair.source} may be NULL (${names}); declare it NOT NULL`,
    ];
  }
  const sent = from.columns.filter(column => !column.generated);
  const to = target.shapes.get(pair.target);
  if (!to) {
    return [
      `the target has no table ${pair.target}; make it, for example: ${suggestTable(pair, from, source, target)}`,
    ];
  }

  const problems: string[] = [];
  const columns: ColumnPlan[] = [];
  for (const column of sent) {
    const other = to.columns.find(candidate => candidate.name === column.name);
    if (!other || other.generated) {
      const what = other ? 'is computed there' : 'is missing there';
      const type = typeInTarget(column, source, target, from.strict);
      const advice = `ALTER TABLE ${quoteTable(pair.target)} ADD COLUMN ${quote(column.name)} ${type}`;
      problems.push(
        `column ${column.name} of ${pair.source} ${what} (${pair.target}); mend it in the target: ${advice}`,
      );
      continue;
    }
    const wrong = typeProblem(column, other, { source, target, strict: [from.strict, to.strict] });
    if (wrong) problems.push(`column ${column.name} of ${pair.source} → ${pair.target}: ${wrong}`);
    columns.push({
      name: column.name,
      sourceType: column.type,
      targetType: other.type,
      ...converters(column, other, source.kind, target.kind),
    });
  }
  for (const column of to.columns) {
    if (column.generated || column.nullable || column.hasDefault) continue;
    if (sent.some(other => other.name === column.name)) continue;
    problems.push(
      `column ${column.name} of the target's ${pair.target} is NOT NULL, has no default, and is not in the source's ${pair.source}; give it a default, or drop NOT NULL`,
    );
  }
  if (to.key.join('\n') !== from.key.join('\n')) {
    problems.push(
      `the primary key of the target's ${pair.target} is (${to.key.join(', ')}), expected that of the source's ${pair.source}: (${from.key.join(', ')})`,
    );
  }
  if (problems.length > 0) return problems;
  const places = (names: readonly string[]): number[] =>
    names.map(name => columns.findIndex(column => column.name === name));
  return {
    index,
    ...pair,
    columns,
    key: places(from.key),
    uniques: to.uniques.map(places).filter(list => !list.includes(-1)),
    sourceUniques: from.uniques,
  };
}

function typeProblem(
  from: ColumnShape,
  to: ColumnShape,
  { source, target, strict }: { source: Side; target: Side; strict: readonly (boolean | undefined)[] },
): string | null {
  if (source.kind === 'postgres' && target.kind === 'postgres') {
    if (from.type === to.type) return null;
    return `the source's type is ${from.type}, the target's ${to.type}; they must be the same`;
  }
  if (source.kind === 'sqlite' && target.kind === 'sqlite') {
    const [one, other] = [affinityOf(from.type, strict[0]), affinityOf(to.type, strict[1])];
    if (one === other || other === 'NONE') return null;
    return `declared ${from.type || 'without a type'} (affinity ${one}) in the source and ${to.type} (${other}) in the target; values would change, so declare it alike`;
  }
  const [postgres, sqlite] = source.kind === 'postgres' ? [from, to] : [to, from];
  const affinity = affinityOf(sqlite.type, source.kind === 'sqlite' ? strict[0] : strict[1]);
  const fitting = misfit(postgres.type, affinity, source.kind);
  if (fitting.length === 0) return null;
  const list = fitting.join(' or ');
  return `PostgreSQL's ${postgres.type} and SQLite's ${sqlite.type || '(no type)'} (affinity ${affinity}) do not keep each other's values; expected a SQLite column of affinity ${list}`;
}

function converters(
  from: ColumnShape,
  to: ColumnShape,
  sourceKind: DatabaseKind,
  targetKind: DatabaseKind,
): Pick<ColumnPlan, 'convert' | 'back'> {
  const same = (cell: Cell): Cell => cell;
  if (sourceKind === targetKind) return { convert: same, back: same };
  if (sourceKind === 'postgres') return { convert: toSqlite(from.type), back: toPostgres(from.type) };
  return { convert: toPostgres(to.type), back: toSqlite(to.type) };
}

function typeInTarget(column: ColumnShape, source: Side, target: Side, strict?: boolean): string {
  if (source.kind === target.kind) return column.type;
  if (source.kind === 'postgres') return sqliteTypeFor(column.type);
  return postgresTypeFor(affinityOf(column.type, strict));
}

function suggestTable(pair: TablePair, from: TableShape, source: Side, target: Side): string {
  const columns = from.columns
    .filter(column => !column.generated)
    .map(column => {
      const type = typeInTarget(column, source, target, from.strict);
      return `${quote(column.name)} ${type}${column.nullable ? '' : ' NOT NULL'}`;
    });
  const key = `PRIMARY KEY (${from.key.map(quote).join(', ')})`;
  return `CREATE TABLE ${quoteTable(pair.target)} (${[...columns, key].join(', ')})`;
}
