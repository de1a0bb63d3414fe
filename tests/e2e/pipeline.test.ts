/** docs/pipeline.md as it stands, on a real cluster, while its processes are killed: every row of every file is in the table once. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { projectRoot, startCluster, until, type Cluster, type Document } from '../support/cluster.ts';

const rowsPerFile = 400;
const instances = ['people-table', 'people-parser', 'people-inbox'];

describe('the pipeline of the guide', () => {
  let directory: string;
  let cluster: Cluster;

  before(async function () {
    this.timeout(180_000);
    directory = await mkdtemp(join(tmpdir(), 'holdfast-pipeline-'));
    await mkdir(join(directory, 'inbox'));
    const guide = await readFile(join(projectRoot, 'docs/pipeline.md'), 'utf8');
    const [files, others] = [...guide.matchAll(/^```json\n([^]*?)^```$/gm)].map(
      ([, json]) =>
        JSON.parse(
          json!
            .replaceAll('"build/packages/', `"${projectRoot}/build/packages/`)
            .replaceAll('/tmp/holdfast-', `${directory}/`),
        ) as Document,
    ) as [Document, Document];
    const parser = files.componentInstances.find(({ id }) => id === 'people-parser')!;
    // As many messages as rows, so that there is a middle.
    (parser.settings as { rowsPerMessage: number }).rowsPerMessage = 1;
    cluster = await startCluster({
      nodes: 1,
      edit(document) {
        document.componentPackages = [...files.componentPackages, ...others.componentPackages];
        document.componentInstances = document.componentInstances
          .filter(({ id }) => id !== 'databases')
          .concat(files.componentInstances, others.componentInstances);
        document.routes = others.routes;
      },
    });
  });
  after(async () => {
    await cluster?.dispose();
    await rm(directory, { recursive: true, force: true });
  });

  async function processesOf(instanceId: string) {
    const all = await cluster.processes();
    return all.filter(
      ({ component }) => component?.instanceId === instanceId && component.state === 'Started',
    );
  }

  /** What the files brought; or rows of this name. */
  function written(name?: string): { id: number; name: string }[] {
    const file = join(cluster.stateRoot, 'data/people-table/people.sqlite');
    if (!existsSync(file)) return [];
    const database = new DatabaseSync(file, { readOnly: true, timeout: 5_000 });
    try {
      if (!database.prepare(`SELECT 1 FROM sqlite_schema WHERE name = 'people'`).get()) return [];
      return database
        .prepare(
          `SELECT id, name FROM people WHERE ${name === undefined ? `name LIKE 'people-%'` : 'name = ?'} ORDER BY id, name`,
        )
        .all(...(name === undefined ? [] : [name])) as { id: number; name: string }[];
    } finally {
      database.close();
    }
  }

  it('brings every row into the table once, whichever of its processes are killed in the middle', async function () {
    this.timeout(180_000);
    for (const id of instances) {
      await until(`both copies of ${id}`, async () => (await processesOf(id)).length === 2, 60_000);
    }
    const expected: { id: number; name: string }[] = [];
    for (const [index, victim] of instances.entries()) {
      const rows = Array.from({ length: rowsPerFile }, (_, row) => ({
        id: index * rowsPerFile + row,
        name: `${victim} ${row}`,
      }));
      const before = expected.length;
      expected.push(...rows);
      const lines = rows.map(({ id, name }) => `${id},"${name}"\n`);
      await writeFile(join(directory, 'inbox', `${victim}.csv`), `No,Name\n${lines.join('')}`);
      await until('the first rows of the file', async () => written().length > before, 60_000);
      for (const { pid } of await processesOf(victim)) process.kill(pid!, 'SIGKILL');
    }
    await until('all rows', async () => written().length >= expected.length, 120_000);
    assert.deepEqual(
      written().map(({ id, name }) => ({ id, name })),
      expected,
    );
  });

  it('puts a bad file into the error folder with the reason, and nothing of it into the table', async function () {
    this.timeout(120_000);
    await writeFile(join(directory, 'inbox/bad.csv'), 'No,Name\n9999,Ada\nx,Eve\n');
    const reason = await until(
      'the reason',
      async () => (await readdir(join(directory, 'errors'))).find(name => name.endsWith('.reason.json')),
      90_000,
    );
    assert.match(
      await readFile(join(directory, 'errors', reason), 'utf8'),
      /row 2: \\"No\\" is \\"x\\", but integer is expected/,
    );
    assert.deepEqual(written('Ada'), []);
  });

  it('takes rows from requests and from a schedule too', async function () {
    this.timeout(120_000);
    const post = async (body: object) => {
      const headers = { 'content-type': 'application/json', 'idempotency-key': '1' };
      const response = await fetch(`${cluster.routerUris[0]}/people`, {
        method: 'POST',
        headers,
        body: JSON.stringify(body),
      });
      return {
        status: response.status,
        body: (await response.json()) as { messageId: string; code?: string },
      };
    };
    const first = await until('an answer', async () => {
      const answer = await post({ id: 3, name: 'Cay' });
      return answer.status === 202 && answer;
    });
    assert.equal((await post({ id: 3, name: 'Cay' })).body.messageId, first.body.messageId);
    await until('the row', async () => written('Cay').length > 0, 60_000);
    const refused = await post({ id: 'three' });
    assert.equal(refused.status, 400);
    assert.equal(refused.body.code, 'HF_REQUEST_INVALID');
    await until('the beat of the schedule', async () => written('beat').length > 1, 60_000);
    assert.equal(written('Cay').length, 1);
  });
});
