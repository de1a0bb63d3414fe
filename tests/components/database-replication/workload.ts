/** Transactions by chance, as SQL. Those on `ledger` move an amount from one row to another: the sum is zero after each transaction. */
import type { Dice } from '../../simulation/dice.ts';
import { bytes, ledgerRows, truth, type Kind } from './dialects.ts';

const ids = 120;
const letters = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];

export function firstRows(dice: Dice, kind: Kind, count: number): string {
  const ledger = Array.from({ length: ledgerRows }, (_, id) => `INSERT INTO ledger VALUES (${id}, 0);`);
  const items = Array.from(
    { length: count },
    (_, place) => `INSERT INTO items ${item(dice, kind, 1_000 + place)};`,
  );
  return [...ledger, ...items].join('\n');
}

/** Statements of one transaction. */
export function transaction(dice: Dice, kind: Kind): string[] {
  const count = dice.chance(0.05) ? 300 : 1 + dice.below(6);
  const statements = Array.from({ length: count }, () => statement(dice, kind));
  if (!dice.chance(0.5)) return statements;
  const [from, to, amount] = [dice.below(ledgerRows), dice.below(ledgerRows), dice.below(1_000)];
  return [
    `UPDATE ledger SET amount = amount - ${amount} WHERE id = ${from}`,
    ...statements,
    `UPDATE ledger SET amount = amount + ${amount} WHERE id = ${to}`,
  ];
}

function statement(dice: Dice, kind: Kind): string {
  const id = dice.below(ids);
  const [a, b] = [dice.pick(letters), dice.below(5)];
  switch (dice.below(14)) {
    case 0:
    case 1:
    case 2:
      return `DELETE FROM items WHERE id = ${id}`;
    case 3:
    case 4:
    case 5:
    case 6:
      return `INSERT INTO items ${item(dice, kind, id)} ON CONFLICT DO NOTHING`;
    case 7:
      return `UPDATE items SET name = ${text(dice)}, amount = ${number(dice)} WHERE id = ${id}`; // note stays: large and untouched
    case 8:
      return `UPDATE items SET note = ${note(dice)} WHERE id >= ${id} AND id < ${id + 4}`;
    case 9:
      // Another key, as far as it is free.
      return `UPDATE items SET id = ${id + 1} WHERE id = ${id} AND NOT EXISTS (SELECT 1 FROM items WHERE id = ${id + 1})`;
    case 10:
      return `INSERT INTO pairs VALUES ('${a}', ${b}, ${dice.below(100) / 8}, '{"n": ${dice.below(99)}}', '${uuid(dice)}') ON CONFLICT (a, b) DO UPDATE SET v = excluded.v`;
    case 11:
      return `DELETE FROM pairs WHERE a = '${a}'`;
    case 12:
      if (dice.chance(0.1)) return kind === 'postgres' ? 'TRUNCATE pairs' : 'DELETE FROM pairs';
      return `UPDATE pairs SET u = '${uuid(dice)}' WHERE b = ${b}`;
    default:
      // SQLite's own way to delete one row by inserting another, which no trigger is told.
      return kind === 'sqlite'
        ? `INSERT OR REPLACE INTO items ${item(dice, kind, id)}`
        : `UPDATE items SET ok = NOT ok, at = '${instant(dice)}' WHERE id = ${id}`;
  }
}

function item(dice: Dice, kind: Kind, id: number): string {
  const code = dice.chance(0.7) ? `'code ${dice.below(400)}'` : 'NULL';
  const data = dice.chance(0.5) ? bytes[kind](dice.below(65_536).toString(16).padStart(4, '0')) : 'NULL';
  const values = [
    id,
    text(dice),
    id < ids ? code : 'NULL',
    number(dice),
    `'${instant(dice)}'`,
    data,
    truth[kind](dice.chance(0.5)),
    note(dice),
  ];
  return `VALUES (${values.join(', ')})`;
}

const text = (dice: Dice): string => (dice.chance(0.1) ? 'NULL' : `'näme ''${dice.below(1_000)}''\n'`);
const number = (dice: Dice): string => `'${dice.below(1e9)}${dice.below(1e9)}.${dice.below(10)}0'`;
const instant = (dice: Dice): string =>
  `2026-0${1 + dice.below(9)}-1${dice.below(10)}T0${dice.below(10)}:00:00.12345${1 + dice.below(9)}Z`;
const uuid = (dice: Dice): string => `00000000-0000-4000-8000-${String(dice.below(1e9)).padStart(12, '0')}`;

function note(dice: Dice): string {
  if (dice.chance(0.6)) return 'NULL';
  return `'${String(dice.below(1e9)).repeat(dice.chance(0.3) ? 400 : 2)}'`; // more than 2 kB lies outside of the row in PostgreSQL
}
