import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import fc from 'fast-check';
import { keyText, parseKey, type Cell } from '../../../components/database-replication/cells.ts';
import {
  affinityOf,
  misfit,
  postgresTypeFor,
  sqliteTypeFor,
  toPostgres,
  toSqlite,
} from '../../../components/database-replication/schema/values.ts';
import { formatLsn, parseLsn, type Lsn } from '../../../components/database-replication/source/lsn.ts';

/** What PostgreSQL prints, by type. */
const printed: Record<string, fc.Arbitrary<string>> = {
  bigint: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String),
  'double precision': fc.oneof(
    fc.double({ noNaN: true }).map(value => (Object.is(value, -0) ? '0' : String(value))),
    fc.constantFrom('NaN', 'Infinity', '-Infinity'),
  ),
  numeric: fc.oneof(
    fc.tuple(fc.bigInt(), fc.nat(99)).map(([whole, part]) => `${whole}.${String(part).padStart(2, '0')}`),
    fc.constantFrom('NaN', '0.00', '1e-7'),
  ),
  boolean: fc.constantFrom('t', 'f'),
  bytea: fc.uint8Array({ maxLength: 40 }).map(bytes => `\\x${Buffer.from(bytes).toString('hex')}`),
  'timestamp with time zone': fc.constantFrom(
    '2026-11-28 11:22:33.123456+00',
    '0001-01-01 00:00:00+00',
    '10000-01-01 00:00:00.5+00',
    'infinity',
    '-infinity',
    '0044-03-15 00:00:00+00 BC',
  ),
  date: fc.constantFrom('2026-11-28', 'infinity', '0044-03-15 BC'),
  uuid: fc.uuid(),
  jsonb: fc.jsonValue().map(value => JSON.stringify(value)),
  text: fc.string({ unit: 'grapheme' }).filter(text => !text.includes('\0')),
  'integer[]': fc.constantFrom('{1,2,NULL}', '{}'),
};

/** Instants change their spelling, to one that PostgreSQL reads as the same. */
const asPostgresReads = (text: string): string => text.replace(/^(\S+)T(\S+)Z$/, '$1 $2+00');

describe('database-replication: values', () => {
  for (const [type, values] of Object.entries(printed)) {
    it(`bring ${type} to a SQLite file and back without changing it`, () => {
      using database = new DatabaseSync(':memory:');
      database.exec(`CREATE TABLE t (v ${sqliteTypeFor(type)})`);
      const insert = database.prepare('INSERT INTO t VALUES (?)');
      const select = database.prepare('SELECT v FROM t WHERE rowid = ?');
      select.setReadBigInts(true);
      fc.assert(
        fc.property(values, text => {
          const { lastInsertRowid } = insert.run(toSqlite(type)(text) as string);
          const stored = select.get(lastInsertRowid)?.['v'] as Cell;
          const back = asPostgresReads(toPostgres(type)(stored) as string);
          // Floating point has several spellings of one number.
          if (type === 'double precision') assert.equal(Number(back), Number(text));
          else assert.equal(back, text);
        }),
        { numRuns: 60 },
      );
    });
  }

  it('refuse what PostgreSQL has no text for, without repeating the value', () => {
    const wrong: [string, Cell][] = [
      ['text', 'a\0b'],
      ['text', new Uint8Array([1])],
      ['bytea', 'secret text'],
      ['boolean', 2n],
    ];
    for (const [type, cell] of wrong) {
      assert.throws(
        () => toPostgres(type)(cell),
        (error: Error) => !error.message.includes('secret'),
      );
    }
  });

  it('name the affinities that would keep a value, where SQLite’s column would not', () => {
    assert.deepEqual(misfit('numeric', affinityOf('NUMERIC'), 'postgres'), ['TEXT', 'NONE']);
    assert.deepEqual(misfit('bigint', affinityOf('REAL'), 'postgres'), ['INTEGER', 'NUMERIC', 'NONE']);
    assert.deepEqual(misfit('numeric', affinityOf('INTEGER'), 'sqlite'), []);
    for (const type of Object.keys(printed)) {
      assert.deepEqual(misfit(type, affinityOf(sqliteTypeFor(type)), 'postgres'), [], type);
    }
    for (const declared of ['INTEGER', 'REAL', 'TEXT', 'DECIMAL(10,2)', 'BLOB', '']) {
      const affinity = affinityOf(declared);
      assert.deepEqual(misfit(postgresTypeFor(affinity), affinity, 'sqlite'), [], declared);
    }
  });

  it('make a key a text that tells every key from every other, and can be read again', () => {
    const cell = fc.oneof(
      fc.string(),
      fc.bigInt(),
      fc.double({ noNaN: true }),
      fc.uint8Array({ maxLength: 5 }),
      fc.constant(null),
    );
    fc.assert(
      fc.property(fc.array(cell), key => assert.deepEqual(parseKey(keyText(key)), key)),
      { numRuns: 200 },
    );
    assert.notEqual(keyText([1n]), keyText(['1']));
    assert.notEqual(keyText(['a', 'b']), keyText(['a","b']));
  });

  it('order places in PostgreSQL’s log as numbers', () => {
    const place = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    fc.assert(
      fc.property(place, lsn => assert.equal(parseLsn(formatLsn(lsn as Lsn)), lsn)),
      { numRuns: 200 },
    );
    assert(parseLsn('1/0') > parseLsn('0/FFFFFFFF'));
    assert.throws(() => parseLsn('0/'), SyntaxError);
  });
});
