import assert from 'node:assert/strict';
import {
  parseSettings,
  type DeploymentInfo,
  type MasterDeployment,
  type MasterInstance,
  type MasterStatus,
} from '#core';
import { judgeRoll } from '../../cli/deploy/roll.ts';
import { instancesOf, jobsOf, withInstance } from '../../cli/deploy/settings-edit.ts';

const text = `{
  // the demo
  "clusterName": "demo",
  "nodeServers": [],
  "componentPackages": [],
  "componentInstances": [
    { "id": "greeters", "packageName": "hello", "instances": 2 } // two are enough
  ],
  "routes": [{ "pathPrefix": "/hi", "componentInstanceId": "greeters" }]
}
`;
const desired = {
  id: 'shop',
  packageName: 'shop',
  packageVersion: '0.1.0',
  instances: 3,
  route: '/shop',
} as const;

describe('the settings after a deployment', () => {
  it('have the instance and its route besides what was there, comments too', () => {
    const edited = withInstance(text, desired);
    assert.match(edited, /\/\/ the demo/);
    assert.match(edited, /\/\/ two are enough/);
    const { settings } = parseSettings(edited);
    assert.deepEqual(
      settings.componentInstances.map(({ id, packageVersion, instances }) => [id, packageVersion, instances]),
      [
        ['greeters', null, 2],
        ['shop', '0.1.0', 3],
      ],
    );
    assert.deepEqual(
      settings.routes.map(route => [route.pathPrefix, route.componentInstanceId]),
      [
        ['/hi', 'greeters'],
        ['/shop', 'shop'],
      ],
    );
  });

  it('are the same after the same deployment', () => {
    const once = withInstance(text, desired);
    assert.deepEqual(parseSettings(withInstance(once, desired)), parseSettings(once));
    assert.deepEqual(instancesOf(once, 'shop'), ['shop']);
  });

  it('get the lists that were not there', () => {
    const bare = '{ "clusterName": "demo", "nodeServers": [] }';
    const { settings } = parseSettings(withInstance(bare, { ...desired, instances: 'perNode' }));
    assert.equal(settings.componentInstances[0]!.instances, 'perNode');
    assert.equal(settings.routes.length, 1);
    assert.deepEqual(instancesOf(bare, 'shop'), []);
  });

  it('change an instance that is there, and nothing of another package', () => {
    const edited = withInstance(text, { ...desired, id: 'greeters', packageName: 'hello', route: null });
    const [greeters] = parseSettings(edited).settings.componentInstances;
    assert.equal(greeters!.instances, 3);
    assert.equal(greeters!.packageVersion, '0.1.0');
    assert.throws(() => withInstance(text, { ...desired, id: 'greeters' }), { code: 'HF_USAGE' });
    assert.throws(() => withInstance(text, { ...desired, route: '/hi' }), { code: 'HF_USAGE' });
  });
});

describe('the settings after a job was deployed', () => {
  const jobOf = (text: string) =>
    parseSettings(text).settings.componentInstances.find(({ id }) => id === 'report')?.job;
  const job = { ...desired, id: 'report', packageName: 'report', route: null };

  it('hold the job, with the times that were asked for last', () => {
    const hourly = withInstance(text, { ...job, job: { cron: '0 * * * *' } });
    assert.equal(jobOf(hourly)?.cron, '0 * * * *');
    assert.deepEqual(jobsOf(hourly, ['report', 'greeters']), ['report']);
    const daily = withInstance(hourly, { ...job, job: { cron: '0 3 * * *' } });
    assert.equal(jobOf(daily)?.cron, '0 3 * * *');
    assert.equal(jobOf(withInstance(daily, { ...job, job: {} }))?.cron, null);
  });
});

describe('how far a deployment is', () => {
  const judge = (instance: Partial<MasterInstance> | null, deployments: Partial<DeploymentInfo>[] = []) => {
    const whole: MasterInstance = {
      id: 'shop',
      packageName: 'shop',
      packageVersion: '2.0.0',
      desired: 2,
      running: 0,
      live: 0,
      versions: {},
      nodes: [],
      problems: [],
      deployment: null,
    };
    const status = { instances: instance ? [{ ...whole, ...instance }] : [] } as Partial<MasterStatus>;
    const ended = deployments.map(one => ({
      id: 'shop-2',
      instanceId: 'shop',
      to: { packageVersion: '2.0.0' },
      endedAt: '2026-01-01T00:00:00.000Z',
      ...one,
    }));
    return judgeRoll(status as MasterStatus, ended as DeploymentInfo[], {
      instanceIds: ['shop'],
      packageVersion: '2.0.0',
      endedBefore: new Set(['shop-1']),
    });
  };
  const active = (more: Partial<MasterDeployment>): MasterDeployment => ({
    id: 'shop-2',
    state: 'rolling',
    packageVersion: '2.0.0',
    reason: null,
    canary: null,
    progress: { desired: 2, updated: 1, available: 1, outdated: 1 },
    ...more,
  });

  it('is going on until every copy runs the version and no other is left', () => {
    assert.equal(judge(null).state, 'going');
    assert.equal(judge({ running: 1, live: 1, versions: { '2.0.0': 1 } }).state, 'going');
    assert.equal(judge({ running: 2, live: 3, versions: { '2.0.0': 2, '1.0.0': 1 } }).state, 'going');
    assert.equal(judge({ running: 2, live: 2, versions: { '2.0.0': 2 } }).state, 'done');
    assert.equal(judge({ desired: 0 }).state, 'done');
  });

  it('has failed when copies do not start, or it was rolled back', () => {
    assert.equal(judge({ problems: ['crashes at start'] }).state, 'failed');
    const back = judge({ packageVersion: '1.0.0', running: 2, live: 2, versions: { '1.0.0': 2 } });
    assert.equal(back.state, 'failed');
  });

  it('has failed with the reason of the deployment that was rolled back, and of none that ended before', () => {
    const old = { packageVersion: '1.0.0', running: 2, live: 2, versions: { '1.0.0': 2 } };
    const back = judge(old, [{ state: 'rolled-back', reason: 'it is broken' }]);
    assert.deepEqual(back, {
      state: 'failed',
      reason: 'shop: shop-2 was rolled back: it is broken',
      lasts: false,
    });
    const before = judge({ running: 1 }, [{ id: 'shop-1', state: 'rolled-back' }]);
    assert.equal(before.state, 'going');
  });

  it('leaves what is under way to the manager', () => {
    const half = { running: 1, live: 2, versions: { '2.0.0': 1, '1.0.0': 1 } };
    assert.equal(judge({ ...half, problems: ['crashed once'], deployment: active({}) }).state, 'going');
    const whole = { running: 2, live: 2, versions: { '2.0.0': 2 } };
    assert.equal(judge({ ...whole, deployment: active({}) }).state, 'going');
    const halted = judge({ ...half, deployment: active({ state: 'paused', reason: 'halted: no' }) });
    assert.equal(halted.state, 'failed');
    const back = judge({ ...half, deployment: active({ state: 'rolling-back', reason: 'no' }) });
    assert.equal(back.state, 'going');
    const full = { ...half, problems: ['slot 1 cannot be placed: full'], deployment: active({}) };
    assert.equal(judge(full).state, 'failed');
  });

  it('is through for now when the canaries are well', () => {
    const canary = { instances: 1, promoteAfterMs: null, promotedAt: null, promotedBy: null };
    const waiting = judge({ deployment: active({ state: 'canary', canary }) });
    assert(waiting.state === 'canary');
    assert.match(waiting.promote[0]!.text, /holdfast deployments promote shop-2/);
    const progress = { desired: 2, updated: 1, available: 0, outdated: 1 };
    assert.equal(judge({ deployment: active({ state: 'canary', canary, progress }) }).state, 'going');
  });

  it('does not take old problems of a finished roll for a failure', () => {
    assert.equal(
      judge({ running: 2, live: 2, versions: { '2.0.0': 2 }, problems: ['was slow'] }).state,
      'done',
    );
  });
});
