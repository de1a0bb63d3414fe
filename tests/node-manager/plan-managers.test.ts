import assert from 'node:assert/strict';
import type { Action } from '#node-manager';
import {
  applyPlan,
  clusterOf,
  converge,
  instance,
  known,
  nodeOf,
  planOf,
  processOf,
  worldOf,
  type World,
} from './made-up-cluster.ts';

const host = known('component-host', '1.0.0', { kind: 'host' });
const generation = '0123456789ab';

/** A cluster whose first manager, which leads, runs on `a`. */
function world(managers: number, machines = true): World {
  const made = worldOf(
    clusterOf(['a', 'b', 'c', 'd'], [], { managers }),
    [host, known('node-manager')],
    ['a', 'b', 'c', 'd'].map(name => nodeOf(name)),
  );
  if (machines) made.settings.nodeServers.forEach((node, index) => (node.networkIp = `10.0.0.${index + 1}`));
  const first = processOf('a', `node-manager/0/${generation}`, {
    processId: 'first',
    packageName: 'node-manager',
  });
  made.nodes.set('a', nodeOf('a', [first]));
  made.managerId = 'first';
  return made;
}

function managersOn(made: World): Record<string, string[]> {
  return Object.fromEntries(
    [...made.nodes.values()].map(({ name, processes }) => [
      name,
      processes.map(item => `${item.settingsId!.split('/')[1]} ${item.packageVersion}`),
    ]),
  );
}

const briefly = (actions: readonly Action[]) =>
  actions.filter(({ type }) => type !== 'upload-package').map(({ type, node }) => `${type} ${node}`);

describe('planning of node managers', () => {
  it('leaves the one manager to itself where one is wanted', () => {
    const made = world(1);
    const { actions, instances } = planOf(made);
    assert.deepEqual([briefly(actions), instances], [[], []]);
  });

  it('starts further ones on other nodes, without the settings file and with the package and host that are meant', () => {
    const made = world(3);
    const starts = planOf(made).actions.filter(action => action.type === 'start');
    assert.deepEqual(
      starts.map(({ node, slot }) => `${slot} ${node}`),
      ['1 b', '2 c'],
    );
    const { request, needs } = starts[0]!;
    assert.deepEqual(
      [request.version, request.hostVersion, request.instanceId],
      ['1.0.0', '1.0.0', 'node-manager'],
    );
    assert.deepEqual(request.settings, { host: '10.0.0.2', port: 7777 });
    assert.equal(request.restart?.maxAttempts, 1_000, 'its agent does not give up');
    assert.deepEqual(needs, ['upload b component-host@1.0.0', 'upload b node-manager@1.0.0']);
    const { instances } = converge(made);
    assert.deepEqual(
      [instances[0]!.id, instances[0]!.running, instances[0]!.problems],
      ['node-manager', 3, []],
    );
    assert.deepEqual(managersOn(made), { a: ['0 1.0.0'], b: ['1 1.0.0'], c: ['2 1.0.0'], d: [] });
  });

  it('gives those on one machine ports of their own, or free ones', () => {
    const ports = (made: World) =>
      planOf(made).actions.flatMap(action =>
        action.type === 'start' ? [action.request.settings?.port] : [],
      );
    assert.deepEqual(ports(world(3, false)), [0, 0]);
    const declared = world(2, false);
    const settings = { settingsFile: '/somewhere/else.json', leaseTtlMs: 1_000 };
    const brain = instance('brain', { packageName: 'node-manager', ports: [7777, 7778], settings });
    declared.settings = { ...declared.settings, componentInstances: [brain] };
    const [start] = planOf(declared).actions.filter(action => action.type === 'start');
    assert.deepEqual(start?.request.settings, { leaseTtlMs: 1_000, host: '127.0.0.1', port: 7778 });
  });

  it('does not start one again for other settings', () => {
    const made = world(2);
    converge(made);
    made.settings = { ...made.settings, sessionTtlMs: 4_000 };
    made.settings.nodeServers.forEach(node => (node.networkIp = '10.0.0.1'));
    assert.deepEqual(briefly(planOf(made).actions), []);
  });

  it('replaces one whose node was given up, and retires it when it comes back', () => {
    const made = world(2);
    converge(made);
    const lost = made.nodes.get('b')!;
    made.nodes.set('b', { ...lost, state: 'dead', lastSeenMs: -1e9 });
    converge(made);
    assert.deepEqual(managersOn(made).c, ['1 1.0.0']);
    made.nodes.set('b', { ...lost, lastSeenMs: made.nowMs });
    converge(made);
    assert.equal(Object.values(managersOn(made)).flat().length, 2);
    assert.deepEqual(managersOn(made).a, ['0 1.0.0']);
  });

  it('never stops the leader: it resigns where it is one too many', () => {
    const made = world(2);
    converge(made);
    made.managerId = made.nodes.get('b')!.processes[0]!.processId;
    made.settings = { ...made.settings, managers: 1 };
    assert.deepEqual(briefly(planOf(made).actions), ['resign b']);
    applyPlan(made, planOf(made).actions);
    assert.deepEqual(briefly(planOf(made).actions), ['stop b']);
    converge(made);
    assert.deepEqual(managersOn(made), { a: ['0 1.0.0'], b: [], c: [], d: [] });
  });

  it('rolls those that stand by first, one at a time, and the leader last, after it has resigned', () => {
    const made = world(3);
    converge(made);
    made.managerId = made.nodes.get('b')!.processes[0]!.processId;
    made.catalog = [...made.catalog, known('node-manager', '1.1.0')];
    const steps: string[] = [];
    converge(made, {
      onPlan({ actions }) {
        steps.push(...briefly(actions));
        for (const action of actions) {
          if (action.type === 'stop') assert.notEqual(action.processId, made.managerId);
        }
      },
    });
    assert.deepEqual(steps, ['stop c', 'start c', 'resign b', 'stop b', 'start b']);
    const [shown] = planOf(made).instances;
    assert.match(shown!.problems[0]!, /the manager on a has an older version.*bootstrap/);
    // Whoever started the first one starts it again.
    const renewed = processOf('a', 'node-manager/0/ba9876543210', {
      packageName: 'node-manager',
      version: '1.1.0',
    });
    made.nodes.set('a', { ...made.nodes.get('a')!, processes: [renewed] });
    assert.deepEqual([planOf(made).instances[0]!.running, planOf(made).actions], [3, []]);
  });

  it('rolls first what is down anyway, and waits with the others until it is well', () => {
    const made = world(3);
    converge(made);
    const breakThat = () => {
      const node = made.nodes.get('c')!;
      const broken = node.processes.map(item => ({
        ...item,
        state: 'BackingOff' as const,
        healthySinceMs: null,
      }));
      made.nodes.set('c', { ...node, processes: broken });
    };
    breakThat();
    made.restarts = { 'node-manager': 'again' };
    assert.deepEqual(briefly(planOf(made).actions), ['stop c', 'start c']);
    applyPlan(made, planOf(made).actions);
    breakThat();
    assert.deepEqual(briefly(planOf(made).actions), []);
  });

  it('leaves a node that is drained or was removed, the leader by resigning', () => {
    const made = world(2);
    converge(made);
    made.managerId = made.nodes.get('b')!.processes[0]!.processId;
    const said = { since: '2026-01-01T00:00:00.000Z', by: 'ada', reason: null, deadlineAt: null };
    made.maintenance = { b: { ...said, state: 'draining' } };
    const steps: string[] = [];
    converge(made, { onPlan: ({ actions }) => steps.push(...briefly(actions)) });
    assert.deepEqual(steps, ['start c', 'resign b', 'stop b']);
  });

  it('says so when there are not nodes enough', () => {
    const made = world(3);
    made.settings = { ...made.settings, nodeServers: made.settings.nodeServers.slice(0, 2) };
    const { instances } = converge(made);
    assert.deepEqual(instances[0]!.problems, ['3 managers are wanted, and there is no further node for one']);
  });
});
