import { strict as assert } from 'node:assert';
import type { JobDemand } from '../../../node-manager/jobs/model.ts';
import {
  clusterOf,
  converge,
  instance,
  known,
  nodeOf,
  planOf,
  processOf,
  settingsIdOf,
  worldOf,
  type World,
} from '../made-up-cluster.ts';

const demand = (change: Partial<JobDemand> = {}): JobDemand => ({
  instanceId: 'report',
  slot: 'r1-1',
  request: { number: 1, runId: 'r1', attempt: 1, scheduledAt: '2026-01-01T00:00:00.000Z', timeoutMs: 60_000 },
  begun: false,
  ...change,
});

function world(jobs?: World['jobs'], more: object = {}): World {
  const instances = [instance('report', { job: {}, ...more }), instance('api', { instances: 2 })];
  const made = worldOf(clusterOf(['a', 'b'], instances), [known('app')], [nodeOf('a'), nodeOf('b')]);
  return jobs === undefined ? made : { ...made, jobs };
}

const runOn = (made: World, node: string, slot = 'r1-1') =>
  processOf(node, settingsIdOf(made, 'report', slot), { packageName: 'app' });
const put = (made: World, ...names: ('a' | 'b')[]) => {
  for (const name of names) made.nodes.set(name, nodeOf(name, [runOn(made, name)]));
};
const ofReport = (made: World) =>
  planOf(made).actions.filter(action => action.type !== 'upload-package' && action.id.includes('report'));

describe('planning: jobs', () => {
  it('starts what is demanded, with the run in its request, and nothing by itself', () => {
    assert.deepEqual(ofReport(world({ report: null })), []);
    const [start, ...others] = ofReport(world({ report: demand() }));
    assert.equal(start?.type, 'start');
    assert.deepEqual([others, start.slot, start.request.job], [[], 'r1-1', demand().request]);
    assert.equal(start.request.settingsId, start.settingsId);
  });

  it('starts a run once: never again what was seen before, and not beside what is there', () => {
    assert.deepEqual(ofReport(world({ report: demand({ begun: true }) })), []);
    const made = world({ report: demand() });
    put(made, 'a');
    assert.deepEqual(ofReport(made), []);
  });

  it('stops what is not demanded any more, and touches nothing of a job that is not known yet', () => {
    const made = world({ report: null });
    put(made, 'a');
    const [stop] = ofReport(made);
    assert.deepEqual([stop?.type, stop?.reason], ['stop', 'it is not, or no longer, to run']);
    const unknown = world();
    put(unknown, 'a');
    assert.deepEqual(ofReport(unknown), []);
  });

  it('lets a run go on with the version that it began with, and on a node that gets no more', () => {
    const made = world({ report: demand({ begun: true }) });
    put(made, 'a');
    made.catalog = [known('app'), known('app', '2.0.0')];
    made.settings.componentInstances[0] = instance('report', { job: {}, packageVersion: '2.0.0' });
    const draining = { state: 'draining', since: 'x', by: 'me', reason: null } as const;
    made.maintenance = { a: { ...draining, deadlineAt: null } };
    assert.deepEqual(ofReport(made), []);
    made.maintenance = { a: { ...draining, deadlineAt: '2020-01-01T00:00:00.000Z' } };
    assert.deepEqual(
      ofReport(made).map(({ type, node }) => [type, node]),
      [['stop', 'a']],
    );
  });

  it('keeps off nodes that get no more, are full, or are shunned, and says why it has no place', () => {
    const made = world({ report: demand() });
    made.maintenance = { a: { state: 'cordoned', since: 'x', by: 'me', reason: null, deadlineAt: null } };
    assert.deepEqual(
      ofReport(made).map(({ node }) => node),
      ['b'],
    );
    made.nodes.set('b', nodeOf('b', [], { state: 'suspect' }));
    assert.deepEqual(ofReport(made), []);
    const { problems } = planOf(made).instances.find(({ id }) => id === 'report')!;
    assert.match(problems.join(), /run r1-1 cannot be placed: .*a is cordoned; b does not answer/);
  });

  it('tries a start that failed again later, elsewhere only if the node had no room', () => {
    const made = world({ report: demand() });
    const [start] = ofReport(made);
    const failure = { node: start!.node, message: 'no', attempts: 1, retryAtMs: 1_000 };
    made.failures.set(start!.id, { ...failure, code: 'HF_START_FAILED' });
    assert.deepEqual(ofReport(made), []);
    assert.equal(planOf(made).dueInMs, 1_000);
    made.failures.set(start!.id, { ...failure, code: 'HF_CAPACITY' });
    assert.deepEqual(
      ofReport(made).map(({ node }) => node),
      [start!.node === 'a' ? 'b' : 'a'],
    );
  });

  it('takes room for runs, keeps them apart from what they must not meet, and comes to rest', () => {
    const made = world({ report: demand() }, { constraints: { antiAffinity: ['api'] } });
    converge(made);
    const where = [...made.nodes.values()].filter(node =>
      node.processes.some(one => one.settingsId?.startsWith('report/')),
    );
    assert.equal(where.length, 0, 'both nodes run the other one');
    made.settings.componentInstances[1] = instance('api', { instances: 1 });
    converge(made);
    const nodes = [...made.nodes.values()].map(node =>
      node.processes.map(one => one.settingsId!.split('/')[0]),
    );
    assert.deepEqual(new Set(nodes.map(ids => ids.join())), new Set(['api', 'report']));
  });
});
