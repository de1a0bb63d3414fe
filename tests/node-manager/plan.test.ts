import assert from 'node:assert/strict';
import type { InstanceSettings } from '#core';
import type { Action } from '#node-manager';
import {
  applyPlan,
  clusterOf,
  converge,
  copiesByNode,
  currentCopy,
  instance,
  known,
  nodeOf,
  planOf,
  processOf,
  settingsIdOf,
  worldOf,
  type World,
} from './made-up-cluster.ts';

const names = ['a', 'b', 'c'];
function world(instances: InstanceSettings[], catalog = [known('app')]): World {
  return worldOf(
    clusterOf(names, instances),
    catalog,
    names.map(name => nodeOf(name)),
  );
}
const ids = (actions: readonly Action[], type: Action['type']) =>
  actions.filter(action => action.type === type).map(action => action.id);
function settingsOf(target: World, instances: InstanceSettings[]): void {
  target.settings = { ...target.settings, componentInstances: instances };
}

describe('plan', () => {
  it('pushes the packages that instances need to every node, and starts wait for them', () => {
    const { actions } = planOf(world([instance('one', { instances: 3 })]));
    assert.deepEqual(
      ids(actions, 'upload-package'),
      ['a', 'b', 'c'].map(name => `upload ${name} app@1.0.0`),
    );
    for (const action of actions) {
      if (action.type === 'start') assert.deepEqual(action.needs, [`upload ${action.node} app@1.0.0`]);
    }
    assert.deepEqual(
      actions.filter(action => action.type === 'start').map(action => action.node),
      ['a', 'b', 'c'],
    );
  });

  it('leaves packages alone that no instance needs', () => {
    assert.deepEqual(planOf(world([], [known('app'), known('db')])).actions, []);
  });

  it('makes the host package of the settings current on every node', () => {
    const made = world([], [known('component-host', '1.0.0'), known('component-host', '1.1.0')]);
    made.settings = { ...made.settings, nodePackages: [{ name: 'component-host', version: '1.0.0' }] };
    const [first] = planOf(made).actions;
    assert.ok(first?.type === 'upload-package');
    assert.deepEqual([first.packageVersion, first.makeCurrent], ['1.0.0', true]);
    converge(made);
    const held = { ...made.nodes.get('a')!.packages[0]!, current: false };
    made.nodes.set('a', nodeOf('a', [], { packages: [held] }));
    assert.match(planOf(made).actions[0]!.reason, /not current/);
  });

  it('does not push to a node that has other bytes of the version, and places nothing there', () => {
    const made = world([instance('one', { instances: 3 })]);
    const other = { packageName: 'app', packageVersion: '1.0.0', sha256: 'other', current: true } as const;
    made.nodes.set('b', nodeOf('b', [], { packages: [{ ...other, status: 'ok', kind: 'component' }] }));
    const { nodeProblems } = converge(made);
    assert.match(nodeProblems.b![0]!, /other bytes/);
    assert.deepEqual(copiesByNode(made, 'one'), { a: 2, b: 0, c: 1 });
  });

  it('sends a damaged package again', () => {
    const made = world([instance('one', { instances: 1 })]);
    converge(made);
    const node = made.nodes.get('a')!;
    made.nodes.set('a', { ...node, packages: [{ ...node.packages[0]!, status: 'corrupt' }] });
    assert.deepEqual(ids(planOf(made).actions, 'upload-package'), ['upload a app@1.0.0']);
  });

  it('takes the newest release when no version is given, and says so when none is known', () => {
    const made = world(
      [instance('one'), instance('two', { packageName: 'nothing' })],
      [known('app', '1.9.0'), known('app', '1.10.0'), known('app', '2.0.0-beta.1')],
    );
    const [one, two] = converge(made).instances;
    assert.equal(one!.packageVersion, '1.10.0');
    assert.match(two!.problems[0]!, /nothing is not known/);
  });

  it('gives each copy its own port by its slot', () => {
    const made = world([instance('one', { instances: 2, ports: [9001, 9002], settings: { x: 1 } })]);
    const starts = planOf(made).actions.filter(action => action.type === 'start');
    assert.deepEqual(
      starts.map(action => action.request.settings),
      [
        { x: 1, port: 9001 },
        { x: 1, port: 9002 },
      ],
    );
  });

  it('implies one router on default settings, unless the settings declare one', () => {
    const implied = converge(world([], [known('router')]));
    assert.deepEqual(
      implied.instances.map(item => [item.id, item.running]),
      [['router', 1]],
    );
    const declared = converge(
      world([instance('front', { packageName: 'router', instances: 2 })], [known('router')]),
    );
    assert.deepEqual(
      declared.instances.map(item => [item.id, item.running]),
      [['front', 2]],
    );
  });

  it('never touches a node manager, even one that the settings declare', () => {
    const made = world([instance('brain', { packageName: 'node-manager' })], [known('node-manager')]);
    made.nodes.set(
      'a',
      nodeOf('a', [processOf('a', 'node-manager/0/0123456789ab', { packageName: 'node-manager' })]),
    );
    assert.deepEqual(planOf(made).actions, []);
  });

  it('runs one copy on each node with "perNode", also on one that is added', () => {
    const made = world([instance('one', { instances: 'perNode' })]);
    converge(made);
    assert.deepEqual(copiesByNode(made, 'one'), { a: 1, b: 1, c: 1 });
    made.settings = { ...clusterOf([...names, 'd'], made.settings.componentInstances) };
    made.nodes.set('d', nodeOf('d'));
    converge(made);
    assert.equal(copiesByNode(made, 'one').d, 1);
  });

  describe('scaling', () => {
    it('adds the lowest free slots where the fewest copies are', () => {
      const made = world([instance('one', { instances: 2 })]);
      converge(made);
      settingsOf(made, [instance('one', { instances: 5 })]);
      converge(made);
      assert.deepEqual(copiesByNode(made, 'one'), { a: 2, b: 2, c: 1 });
    });

    it('takes copies away where most are, so that they stay even', () => {
      const made = world([instance('one', { instances: 7 })]);
      converge(made);
      for (const count of [6, 5, 4, 3, 2, 1, 0]) {
        settingsOf(made, [instance('one', { instances: count })]);
        converge(made);
        const counts = Object.values(copiesByNode(made, 'one'));
        assert.equal(
          counts.reduce((sum, item) => sum + item, 0),
          count,
        );
        assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, String(counts));
      }
    });

    it('takes the highest slots away where slots have ports', () => {
      const made = world([instance('one', { instances: 3, ports: [1, 2, 3] })]);
      converge(made);
      settingsOf(made, [instance('one', { instances: 1, ports: [1, 2, 3] })]);
      const stops = planOf(made).actions.filter(action => action.type === 'stop');
      assert.deepEqual(stops.map(action => action.settingsId.split('/')[1] ?? '').sort(), ['1', '2']);
    });
  });

  describe('failures', () => {
    it('counts copies on a node that does not answer until it is given up, then starts them elsewhere', () => {
      const made = world([instance('one', { instances: 3 })]);
      converge(made);
      made.nodes.set('c', { ...made.nodes.get('c')!, state: 'suspect', lastSeenMs: made.nowMs });
      const waiting = planOf(made);
      assert.deepEqual(waiting.actions, []);
      assert.equal(waiting.dueInMs, made.deadAfterMs);
      made.nowMs += made.deadAfterMs;
      const starts = planOf(made).actions;
      assert.deepEqual(
        starts.map(action => [action.type, action.node]),
        [['start', 'a']],
      );
    });

    it('stops the surplus when the node comes back: the copies that replaced them stay', () => {
      const made = world([instance('one', { instances: 3 })]);
      converge(made);
      const away = made.nodes.get('c')!;
      made.nodes.set('c', { ...away, state: 'dead', lastSeenMs: -1e9 });
      converge(made);
      const back = away.processes.map(process => ({ ...process, healthySinceMs: made.nowMs }));
      made.nodes.set('c', { ...away, processes: back });
      made.nowMs += 1_000;
      const { actions } = planOf(made);
      assert.deepEqual(
        actions.map(action => [action.type, action.node]),
        [['stop', 'c']],
      );
    });

    it('leaves a crash loop to its agent and reports it', () => {
      const made = world([instance('one', { instances: 1 })]);
      converge(made);
      const node = made.nodes.get('a')!;
      const looping = {
        ...node.processes[0]!,
        state: 'CrashLoop' as const,
        restarts: 5,
        healthySinceMs: null,
      };
      made.nodes.set('a', { ...node, processes: [looping] });
      const { actions, instances } = planOf(made);
      assert.deepEqual(actions, []);
      assert.match(instances[0]!.problems[0]!, /CrashLoop after 5 restarts/);
    });

    it('tries a start that failed again later, and elsewhere at once when only the node was the problem', () => {
      const made = world([instance('one', { instances: 1 })]);
      converge(made, { breaks: action => action.type === 'upload-package' && made.nowMs < 1_000 });
      made.nodes.set('a', { ...made.nodes.get('a')!, processes: [] });
      const id = `start ${settingsIdOf(made, 'one', '0')}`;
      const failure = { node: 'a', message: 'no', attempts: 1, retryAtMs: made.nowMs + 700 };
      made.failures.set(id, { ...failure, code: 'HF_START_FAILED' });
      assert.deepEqual([planOf(made).actions, planOf(made).dueInMs], [[], 700]);
      made.failures.set(id, { ...failure, code: 'HF_CAPACITY' });
      assert.equal(planOf(made).actions[0]?.node, 'b');
    });

    it('says of every copy that finds no place why', () => {
      const made = world([instance('one', { constraints: { labels: { zone: 'moon' } } })]);
      assert.match(
        converge(made).instances[0]!.problems[0]!,
        /slot 0 cannot be placed: no node takes it: a has not the label/,
      );
    });
  });

  describe('rolling update', () => {
    function rolling(more: object = {}) {
      const settings = instance('one', {
        instances: 3,
        update: { maxUnavailable: 1, healthyAfterMs: 2_000, ...more },
      });
      const made = world([settings]);
      converge(made);
      made.nowMs += 10_000;
      made.catalog = [...made.catalog, known('app', '2.0.0')];
      return made;
    }

    it('replaces on the same node, stop before start, and only so many at a time', () => {
      const made = rolling();
      const actions = planOf(made).actions.filter(action => action.type !== 'upload-package');
      assert.deepEqual(
        actions.map(action => [action.type, action.node]),
        [
          ['stop', 'a'],
          ['start', 'a'],
        ],
      );
      assert.ok(actions[1]!.needs.includes(actions[0]!.id));
      assert.deepEqual(
        actions[0]!.needs,
        ['upload a app@2.0.0'],
        'nothing stops before the new package is there',
      );
      assert.equal(
        planOf(rolling({ maxUnavailable: 2 })).actions.filter(action => action.type === 'stop').length,
        2,
      );
    });

    it('goes on only when the replacement has been healthy for long enough', () => {
      const made = rolling();
      const times: number[] = [];
      converge(made, {
        onPlan: ({ actions }) => {
          if (actions.some(action => action.type === 'stop')) times.push(made.nowMs);
        },
      });
      assert.equal(times.length, 3);
      for (let index = 1; index < 3; index++) assert.ok(times[index]! - times[index - 1]! >= 2_000);
    });

    it('halts where the new version does not start, and goes on with a later one', () => {
      const made = rolling();
      const broken = (action: Action) => action.type === 'start' && action.request.version === '2.0.0';
      for (let round = 0; round < 50; round++) {
        for (const action of planOf(made).actions) {
          if (!broken(action)) continue;
          const failure = {
            node: action.node,
            code: 'HF_START_FAILED' as const,
            message: 'broken',
            attempts: 1,
          };
          made.failures.set(action.id, { ...failure, retryAtMs: made.nowMs + 500 });
          const node = made.nodes.get(action.node)!;
          made.nodes.set(action.node, {
            ...node,
            processes: node.processes.filter(item => item.packageVersion !== '1.0.0'),
          });
        }
        made.nowMs += 250;
      }
      const [halted] = planOf(made).instances;
      assert.deepEqual(halted!.versions, { '1.0.0': 2 });
      assert.ok(halted!.problems.some(problem => problem.includes('halted') && problem.includes('broken')));
      made.catalog = [...made.catalog, known('app', '3.0.0')];
      assert.deepEqual(converge(made).instances[0]!.versions, { '3.0.0': 3 });
    });

    it('halts where the new version crash-loops', () => {
      const made = rolling();
      const node = made.nodes.get('a')!;
      const looping = {
        ...currentCopy(made, 'a', 'one', '0'),
        state: 'CrashLoop' as const,
        healthySinceMs: null,
      };
      made.nodes.set('a', { ...node, processes: [looping] });
      const { actions, instances } = planOf(made);
      assert.deepEqual(
        actions.filter(action => action.type !== 'upload-package'),
        [],
      );
      assert.match(instances[0]!.problems.at(-1)!, /the update is halted/);
    });

    it('does not halt for a start that seemed to fail but came up after all', () => {
      const made = rolling();
      applyPlan(made, planOf(made).actions);
      const id = `start ${settingsIdOf(made, 'one', '0')}`;
      const failure = { node: 'a', message: 'too late', attempts: 1, retryAtMs: made.nowMs + 500 };
      made.failures.set(id, { ...failure, code: 'HF_NODE_UNREACHABLE' });
      assert.deepEqual(converge(made).instances[0]!.versions, { '2.0.0': 3 });
    });

    it('restarts everything for a new nonce and nothing for a reordered document', () => {
      const made = world([instance('one', { settings: { a: 1, b: { c: 2, d: 3 } } })]);
      converge(made);
      settingsOf(made, [
        instance('one', { settings: { b: { d: 3, c: 2 }, a: 1 }, resources: { weight: 7 } }),
      ]);
      assert.deepEqual(planOf(made).actions, []);
      made.restarts = { one: 'again' };
      assert.deepEqual(
        planOf(made).actions.map(action => action.type),
        ['stop', 'start'],
      );
    });

    it('moves copies off a node that left the settings, one at a time', () => {
      const made = world([instance('one', { instances: 3 })]);
      converge(made);
      made.settings = clusterOf(['a', 'b'], made.settings.componentInstances);
      const { actions } = planOf(made);
      assert.deepEqual(
        actions.map(action => [action.type, action.node]),
        [
          ['stop', 'c'],
          ['start', 'a'],
        ],
      );
      converge(made);
      assert.deepEqual(copiesByNode(made, 'one'), { a: 2, b: 1, c: 0 });
    });
  });
});
