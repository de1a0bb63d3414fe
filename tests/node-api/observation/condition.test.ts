/** What a node is short of: what it says of it, and what it refuses then. */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pressureOf } from '../../../node-api/observation/condition.ts';
import {
  componentPackage,
  createWorkplace,
  hostPackage,
  type AgentClient,
  type Workplace,
} from '../agent-harness.ts';

const MiB = 1024 * 1024;
const plenty = { free: 1_000_000 * MiB, total: 1_000_000 * MiB };
const facts = { disk: plenty, memory: plenty, ports: { free: 1_000, total: 1_000 } };
const defaults = { diskFreeBytesMin: null, memoryFreeBytesMin: null };

describe('what a node is short of', () => {
  const kinds = (change: Partial<typeof facts>, limits = {}) =>
    pressureOf({ ...facts, ...change }, { ...defaults, ...limits }, '/data').map(({ kind }) => kind);

  it('is nothing while there is enough, by share and by size', () => {
    assert.deepEqual(kinds({}), []);
    const disk = { free: 256 * MiB, total: 1_000 * MiB };
    assert.deepEqual(kinds({ disk }), []);
    assert.deepEqual(kinds({ disk: { ...disk, free: disk.free - 1 } }), ['disk']);
    assert.deepEqual(kinds({ disk: { free: 19_999 * MiB, total: 1_000_000 * MiB } }), ['disk']);
    assert.deepEqual(kinds({ memory: { free: 127 * MiB, total: 1_000 * MiB } }), ['memory']);
    assert.deepEqual(kinds({ ports: { free: 7, total: 1_000 } }), ['ports']);
    assert.deepEqual(kinds({ ports: { free: 3, total: 3 } }), []);
  });

  it('can be set, and says how much there is, how much there must be, and where', () => {
    const disk = { free: 100 * MiB, total: 1_000 * MiB };
    assert.deepEqual(kinds({ disk }, { diskFreeBytesMin: 100 * MiB }), []);
    const [pressure] = pressureOf({ ...facts, disk }, defaults, '/data');
    assert.equal(
      pressure!.message,
      'out of disk: 100 MiB of 1000 MiB are free under /data, at least 256 MiB must be',
    );
  });
});

describe('a node without room', function () {
  this.timeout(60_000);
  let workplace: Workplace;
  let agent: AgentClient;
  before(async () => {
    workplace = await createWorkplace();
  });
  after(() => workplace.dispose());

  it('says so, takes no package and starts nothing, with nothing half written; what runs goes on', async () => {
    agent = await workplace.agent();
    await agent.upload(hostPackage());
    await agent.upload(componentPackage());
    const request = { settingsId: 'one/0/000000000000' };
    const running = await agent.start('worker', request);
    assert.equal(running.status, 201, JSON.stringify(running.body));
    const roomy = await agent.call<{ pressure: { kind: string }[] }>('GET', '/api/node/condition');
    assert.deepEqual(
      roomy.body.pressure.filter(({ kind }) => kind === 'disk'),
      [],
    );
    await agent.agent.close({ stopHosts: false });

    agent = await workplace.agent({ diskFreeBytesMin: Number.MAX_SAFE_INTEGER });
    const { body } = await agent.call<{ pressure: { kind: string; message: string }[] }>(
      'GET',
      '/api/node/condition',
    );
    assert.match(body.pressure.find(({ kind }) => kind === 'disk')!.message, /MiB are free under/);
    const upload = await agent.upload(componentPackage('other'));
    assert.deepEqual([upload.status, upload.body.code], [503, 'HF_CAPACITY']);
    assert.match(String(upload.body.message), /node-1 is out of disk: .* Remove packages/);
    const start = await agent.start('worker', { settingsId: 'two/0/000000000000' });
    assert.deepEqual([start.status, (start.body as { code?: string }).code], [503, 'HF_CAPACITY']);
    assert.deepEqual(await readdir(join(workplace.dataDirectory, 'packages/staging')), []);
    assert.equal((await agent.processes()).length, 1);
    // The same start again is no new one.
    assert.equal((await agent.start('worker', request)).body.processId, running.body.processId);
  });
});
