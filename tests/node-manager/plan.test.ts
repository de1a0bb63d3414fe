import assert from 'node:assert/strict';
import type { InstanceSettings } from '#core';
import { desiredInstances, type Action } from '#node-manager';
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

    it('runs nothing twice when the node comes back: the copy goes that is where most are, once the other has proved well', () => {
      const made = world([instance('one', { instances: 3 })]);
      converge(made);
      const away = made.nodes.get('c')!;
      made.nodes.set('c', { ...away, state: 'dead', lastSeenMs: -1e9 });
      converge(made);
      assert.deepEqual(copiesByNode(made, 'one'), { a: 2, b: 1, c: 1 });
      const back = away.processes.map(process => ({ ...process, healthySinceMs: made.nowMs }));
      made.nodes.set('c', { ...away, processes: back, lastSeenMs: made.nowMs });
      const waiting = planOf(made);
      assert.deepEqual([waiting.actions, waiting.dueInMs], [[], 2_000]);
      made.nowMs += 2_000;
      const { actions } = planOf(made);
      assert.deepEqual(
        actions.map(action => [action.type, action.node]),
        [['stop', 'a']],
      );
      converge(made);
      assert.deepEqual(copiesByNode(made, 'one'), { a: 1, b: 1, c: 1 });
    });

    it('leaves the copies on the other nodes alone when what comes back is not well', () => {
      const made = world([instance('one', { instances: 3 })]);
      converge(made);
      const away = made.nodes.get('c')!;
      made.nodes.set('c', { ...away, state: 'dead', lastSeenMs: -1e9 });
      converge(made);
      const broken = away.processes.map(process => ({
        ...process,
        state: 'CrashLoop' as const,
        healthySinceMs: null,
      }));
      made.nodes.set('c', { ...away, processes: broken });
      assert.deepEqual(
        planOf(made).actions.map(action => [action.type, action.node]),
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
        update: { maxUnavailable: 1, maxSurge: 0, healthyAfterMs: 2_000, ...more },
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
        ['start'],
      );
    });
  });

  describe('make before break', () => {
    /** Who runs what, after each plan that did something. */
    function follow(made: World): { type: string; node: string }[][] {
      const steps: { type: string; node: string }[][] = [];
      converge(made, {
        onPlan({ actions }) {
          const step = actions
            .filter(action => action.type !== 'upload-package')
            .map(({ type, node }) => ({ type, node }));
          if (step.length > 0) steps.push(step);
        },
      });
      return steps;
    }

    it('restarts even a single copy without a gap: the old one goes when the new one has been well for a while', () => {
      const made = world([instance('one', { update: { healthyAfterMs: 2_000 } })]);
      converge(made);
      made.nowMs += 10_000;
      made.restarts = { one: 'again' };
      applyPlan(made, planOf(made).actions);
      assert.deepEqual(copiesByNode(made, 'one'), { a: 2, b: 0, c: 0 });
      made.nowMs += 1_999;
      assert.deepEqual([planOf(made).actions, planOf(made).dueInMs], [[], 1]);
      made.nowMs += 1;
      const [stop, ...more] = planOf(made).actions;
      assert.deepEqual([stop?.type, stop?.node, more], ['stop', 'a', []]);
      converge(made);
      assert.deepEqual(copiesByNode(made, 'one'), { a: 1, b: 0, c: 0 });
    });

    it('keeps the old copy when the new one does not come up', () => {
      const made = world([instance('one')]);
      converge(made);
      made.nowMs += 10_000;
      made.catalog = [...made.catalog, known('app', '2.0.0')];
      applyPlan(made, planOf(made).actions);
      const node = made.nodes.get('a')!;
      const broken = node.processes.map(process =>
        process.packageVersion === '2.0.0'
          ? { ...process, state: 'CrashLoop' as const, healthySinceMs: null }
          : process,
      );
      made.nodes.set('a', { ...node, processes: broken });
      const halted = planOf(made);
      assert.deepEqual([halted.actions, halted.dueInMs], [[], null]);
      assert.deepEqual(halted.instances[0]!.versions, { '1.0.0': 1, '2.0.0': 1 });
      // A rollback is a revision equal to the old one: the copy that still has it is kept.
      settingsOf(made, [instance('one', { packageVersion: '1.0.0' })]);
      assert.deepEqual(
        planOf(made).actions.map(action => [action.type, action.reason]),
        [['stop', 'version 2.0.0 is to become 1.0.0']],
      );
      assert.deepEqual(converge(made).instances[0]!.versions, { '1.0.0': 1 });
    });

    it('never has more copies than allowed beside each other', () => {
      const made = world([instance('one', { instances: 5, update: { maxSurge: 2, healthyAfterMs: 1_000 } })]);
      converge(made);
      made.nowMs += 10_000;
      made.restarts = { one: 'again' };
      let most = 0;
      converge(made, {
        onPlan() {
          const counts = Object.values(copiesByNode(made, 'one'));
          most = Math.max(
            most,
            counts.reduce((sum, count) => sum + count, 0),
          );
        },
      });
      assert.equal(most, 7);
    });

    for (const ports of [{ ports: [9000] }, { settings: { port: 9000 } }]) {
      it(`stops the old copy first where both would listen on one port (${JSON.stringify(ports)})`, () => {
        const made = world([instance('one', ports)]);
        converge(made);
        made.nowMs += 10_000;
        made.restarts = { one: 'again' };
        assert.deepEqual(follow(made), [
          [
            { type: 'stop', node: 'a' },
            { type: 'start', node: 'a' },
          ],
        ]);
      });

      it(`runs them at different addresses where there are some (${JSON.stringify(ports)})`, () => {
        const made = world([instance('one', ports)]);
        made.settings.nodeServers.forEach((node, index) => (node.networkIp = `10.0.0.${index + 1}`));
        converge(made);
        made.nowMs += 10_000;
        made.restarts = { one: 'again' };
        assert.deepEqual(follow(made), [[{ type: 'start', node: 'b' }], [{ type: 'stop', node: 'a' }]]);
      });
    }

    it('runs them side by side where they share their port', () => {
      const made = world([instance('one', { settings: { port: 9000, reusePort: true } })]);
      converge(made);
      made.nowMs += 10_000;
      made.restarts = { one: 'again' };
      assert.deepEqual(follow(made), [[{ type: 'start', node: 'a' }], [{ type: 'stop', node: 'a' }]]);
    });

    it('knows the port that a manifest gives', () => {
      const made = world([instance('one')]);
      converge(made);
      const node = made.nodes.get('a')!;
      const manifest = { defaultConfiguration: { port: 8000 } };
      const packages = node.packages.map(
        item => ({ ...item, manifest }) as unknown as (typeof node.packages)[0],
      );
      made.nodes.set('a', { ...node, packages });
      made.nowMs += 10_000;
      made.catalog = [...made.catalog, known('app', '2.0.0')];
      assert.deepEqual(
        planOf(made)
          .actions.filter(action => action.type !== 'upload-package')
          .map(action => action.type),
        ['stop', 'start'],
        'also that of another version, while nobody has seen this one',
      );
    });

    it('stops the old copy first where there is no room for two', () => {
      const made = world([instance('one', { instances: 3, resources: { weight: 16 } })]);
      converge(made);
      made.nowMs += 10_000;
      made.restarts = { one: 'again' };
      const [first] = follow(made);
      assert.deepEqual(first, [
        { type: 'stop', node: 'a' },
        { type: 'start', node: 'a' },
      ]);
    });
  });

  describe('limits of a rollout', () => {
    function halfway(limit: number | null, more: { paused?: string; instances?: number } = {}) {
      const settings = instance('one', { instances: more.instances ?? 3, update: { maxSurge: 0 } });
      const made = world([settings]);
      converge(made);
      made.nowMs += 10_000;
      const before = desiredInstances(made)[0]!.revision;
      made.catalog = [...made.catalog, known('app', '2.0.0')];
      made.rollouts = { one: { previous: before, limit, paused: more.paused ?? null } };
      return made;
    }

    it('gives so many slots the new revision, and no more', () => {
      const made = halfway(1);
      assert.deepEqual(converge(made).instances[0]!.versions, { '1.0.0': 2, '2.0.0': 1 });
      made.rollouts.one = { ...made.rollouts.one!, limit: 2 };
      assert.deepEqual(converge(made).instances[0]!.versions, { '1.0.0': 1, '2.0.0': 2 });
      made.rollouts.one = { ...made.rollouts.one!, limit: null };
      assert.deepEqual(converge(made).instances[0]!.versions, { '2.0.0': 3 });
    });

    it('starts what a dead node leaves behind from the revision before, so that a canary does not spread', () => {
      const made = halfway(1);
      converge(made);
      for (const name of ['a', 'b', 'c']) {
        const node = made.nodes.get(name)!;
        made.nodes.set(name, { ...node, state: 'dead', lastSeenMs: -1e9 });
        assert.deepEqual(
          converge(made).instances[0]!.versions,
          { '1.0.0': 2, '2.0.0': 1 },
          `without ${name}`,
        );
        made.nodes.set(name, { ...node, processes: [], lastSeenMs: made.nowMs });
        converge(made);
      }
    });

    it('replaces nothing while it is paused, but starts what is missing', () => {
      const made = halfway(1, { paused: 'wait for Ada' });
      const { actions, instances } = planOf(made);
      assert.deepEqual(
        actions.filter(action => action.type !== 'upload-package'),
        [],
      );
      assert.deepEqual(instances[0]!.problems, ['the update is paused: wait for Ada']);
      made.rollouts.one = { ...made.rollouts.one!, limit: 0 };
      made.nodes.set('b', { ...made.nodes.get('b')!, processes: [] });
      assert.deepEqual(converge(made).instances[0]!.versions, { '1.0.0': 3 });
    });

    it('takes back what is beyond the limit, and everything when the old revision is wanted again', () => {
      const made = halfway(2);
      converge(made);
      made.rollouts.one = { ...made.rollouts.one!, limit: 1 };
      assert.deepEqual(converge(made).instances[0]!.versions, { '1.0.0': 2, '2.0.0': 1 });
      settingsOf(made, [instance('one', { instances: 3, packageVersion: '1.0.0', update: { maxSurge: 0 } })]);
      assert.deepEqual(ids(planOf(made).actions, 'stop').length, 1, 'the copies that still have it are kept');
      assert.deepEqual(converge(made).instances[0]!.versions, { '1.0.0': 3 });
    });

    it('leaves alone what it cannot start again', () => {
      const made = halfway(1, { instances: 2 });
      converge(made);
      made.catalog = made.catalog.filter(entry => entry.packageVersion === '2.0.0');
      assert.deepEqual(converge(made).instances[0]!.versions, { '1.0.0': 1, '2.0.0': 1 });
      const old = [...made.nodes.values()].find(node =>
        node.processes.some(item => item.packageVersion === '1.0.0'),
      )!;
      made.nodes.set(old.name, { ...old, processes: [] });
      assert.match(
        planOf(made).instances[0]!.problems[0]!,
        /waits for the rollout: package app 1.0.0 is not known/,
      );
    });
  });

  describe('nodes that copies leave, or that get no more', () => {
    const said = { since: '2026-01-01T00:00:00.000Z', by: 'ada', reason: null, deadlineAt: null };

    it('moves copies off a node that left the settings, one at a time', () => {
      const made = world([instance('one', { instances: 3, update: { maxSurge: 0 } })]);
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

    it('drains a node: each copy runs elsewhere before it is stopped, and copies of "perNode" go last', () => {
      const made = world([
        instance('each', { instances: 'perNode' }),
        instance('one', { instances: 3 }),
        instance('two', { instances: 3 }),
      ]);
      converge(made);
      made.nowMs += 10_000;
      made.maintenance = { c: { ...said, state: 'draining' } };
      const stops: string[] = [];
      converge(made, {
        onPlan({ actions }) {
          for (const action of actions) {
            assert.ok(action.type !== 'start' || action.node !== 'c');
            if (action.type === 'stop') stops.push(`${action.settingsId.split('/')[0]} ${action.node}`);
          }
        },
      });
      assert.deepEqual(stops.slice(0, 2).sort(), ['one c', 'two c']);
      assert.deepEqual(stops.slice(2), ['each c']);
      assert.deepEqual(copiesByNode(made, 'one'), { a: 2, b: 1, c: 0 });
      made.maintenance = {};
      converge(made);
      assert.deepEqual(copiesByNode(made, 'each'), { a: 1, b: 1, c: 1 });
    });

    it('lets copies that find no other place stay until the deadline, and says why', () => {
      const made = world([instance('one', { instances: 3, resources: { weight: 16 } })]);
      converge(made);
      made.nowMs += 10_000;
      const deadlineAt = new Date(1_800_000_000_000 + made.nowMs + 60_000).toISOString();
      made.maintenance = { c: { ...said, state: 'draining', reason: 'new disk', deadlineAt } };
      const waiting = planOf(made);
      assert.deepEqual([waiting.actions, waiting.dueInMs], [[], 60_000]);
      assert.match(
        waiting.instances[0]!.problems[0]!,
        /slot 2 cannot be replaced \(c is being drained \(new disk\)\): no node takes it: a is full/,
      );
      made.nowMs += 60_000;
      assert.deepEqual(
        planOf(made).actions.map(action => [action.type, action.node]),
        [['stop', 'c']],
      );
      converge(made);
      assert.deepEqual(copiesByNode(made, 'one'), { a: 1, b: 1, c: 0 });
    });

    it('gives a node that is cordoned, flapping or short of something no more, and moves nothing away', () => {
      const made = world([instance('one', { instances: 3 })]);
      converge(made);
      made.maintenance = { a: { ...said, state: 'cordoned', reason: 'suspicious fan' } };
      made.nodes.set('b', { ...made.nodes.get('b')!, flapping: true });
      made.nodes.set('c', {
        ...made.nodes.get('c')!,
        pressure: [{ kind: 'disk', message: '12 MiB are free' }],
      });
      assert.deepEqual(planOf(made).actions, []);
      settingsOf(made, [instance('one', { instances: 4 })]);
      const { actions, instances, nodeProblems } = planOf(made);
      assert.deepEqual(actions, []);
      assert.equal(
        instances[0]!.problems[0],
        'slot 3 cannot be placed: no node takes it: a is cordoned (suspicious fan); ' +
          'b came and went several times lately, and has to be steady for a while first; ' +
          'c is short of disk: 12 MiB are free',
      );
      assert.match(nodeProblems.c![0]!, /no more copies, being short of disk/);
      assert.match(nodeProblems.b![0]!, /steady/);
    });

    it('renews a copy of "perNode" in its place on a cordoned node', () => {
      const made = world([instance('each', { instances: 'perNode' })]);
      converge(made);
      made.nowMs += 10_000;
      made.maintenance = { a: { ...said, state: 'cordoned' } };
      made.catalog = [...made.catalog, known('app', '2.0.0')];
      assert.deepEqual(converge(made).instances[0]!.versions, { '2.0.0': 3 });
    });
  });
});
