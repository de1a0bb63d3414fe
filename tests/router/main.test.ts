import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { configure, parseManifest, type ComponentContext, type Settings } from '#core';
import { routerSettings } from '#router';
import create from '../../router/main.ts';
import { ask, createFixture, secret, silent, type Echo, type Fixture } from './support.ts';

describe('router package', () => {
  let fixture: Fixture;
  beforeEach(async () => {
    fixture = await createFixture();
  });
  afterEach(() => fixture.dispose());

  const manifest = async () =>
    parseManifest(await readFile(new URL('../../router/manifest.json', import.meta.url), 'utf8'));

  it('has a manifest with the same defaults as the code, which its own schema accepts', async () => {
    const parsed = await manifest();
    assert.deepEqual(parsed.defaultConfiguration, routerSettings({}));
    assert.deepEqual(configure(parsed, {}), routerSettings({}));
    assert.throws(() => configure(parsed, { prot: 8000 }), { code: 'HF_SETTINGS_INVALID' });
    assert.equal(parsed.permissions?.cluster, true);
  });

  it('runs as a component, and reports itself ready once it has its routes', async () => {
    const health: { ready: boolean }[] = [];
    const probe = await fixture.router(); // takes a free port, and gives it back
    const { port } = probe.address();
    await probe.stop(AbortSignal.timeout(1_000));
    const component = create({
      processId: 'node-1-r1',
      settings: { port } satisfies Settings,
      log: silent,
      reportHealth: report => health.push(report),
      cluster: {
        clusterName: 'test',
        secret,
        coordination: fixture.coordination,
        address: { kind: 'embedded', socketPath: '/nowhere' },
      },
    } as Partial<ComponentContext> as ComponentContext);
    await component.start(new AbortController().signal);
    try {
      await fixture.host();
      const answer = await ask({ address: () => ({ port }) }, '/db/a');
      assert.equal(answer.json<Echo>().key, '/db/a');
      assert.deepEqual(
        health.map(report => report.ready),
        [true],
      );
    } finally {
      await component.stop(AbortSignal.timeout(1_000));
    }
    await component.stop(AbortSignal.timeout(1_000));
  });

  it('refuses to be made without the means to run the cluster', () => {
    assert.throws(() => create({ settings: {} } as Partial<ComponentContext> as ComponentContext), {
      code: 'HF_FORBIDDEN',
    });
  });
});
