import assert from 'node:assert/strict';
import { parseSettings, type MasterInstance, type MasterStatus } from '#core';
import { judgeRoll } from '../../cli/deploy/roll.ts';
import { instancesOf, withInstance } from '../../cli/deploy/settings-edit.ts';

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

describe('how far a deployment is', () => {
  const judge = (instance: Partial<MasterInstance> | null) => {
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
    return judgeRoll(status as MasterStatus, { instanceIds: ['shop'], packageVersion: '2.0.0' });
  };

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

  it('does not take old problems of a finished roll for a failure', () => {
    assert.equal(
      judge({ running: 2, live: 2, versions: { '2.0.0': 2 }, problems: ['was slow'] }).state,
      'done',
    );
  });
});
