import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { desiredInstances, progressOf, type Failure, type ObservedProcess } from '#node-manager';
import { clusterOf, instance, known, nodeOf, processOf } from '../made-up-cluster.ts';

const settings = clusterOf(['node-1', 'node-2', 'node-3'], [instance('one', { instances: 3 })]);
const catalog = [known('app')];
const [desired] = desiredInstances({ settings, catalog, restarts: {} });
const idOf = (slot: string) => desired!.start(slot).settingsId;

function seen(
  processes: Record<string, ObservedProcess[]>,
  more: { failures?: Map<string, Failure>; suspect?: string } = {},
) {
  const [progress] = progressOf({
    settings,
    catalog,
    restarts: {},
    maintenance: {},
    observed: settings.nodeServers.map(({ networkName }) =>
      nodeOf(
        networkName,
        processes[networkName] ?? [],
        networkName === more.suspect ? { state: 'suspect' } : {},
      ),
    ),
    failures: more.failures ?? new Map(),
    nowMs: 1_000,
    deadAfterMs: 15_000,
  });
  return progress!;
}

describe('progress of an instance', () => {
  it('counts slots of the revision, those of them that are well for long enough, and others', () => {
    const progress = seen({
      'node-1': [processOf('node-1', idOf('0'))],
      'node-2': [processOf('node-2', idOf('1'), { healthySinceMs: 900 }), processOf('node-2', idOf('0'))],
      'node-3': [processOf('node-3', 'one/2/0123456789ab')],
    });
    const { desired: copies, updated, available, outdated, serving, failures } = progress;
    assert.deepEqual(
      { copies, updated, available, outdated, serving },
      { copies: 3, updated: 2, available: 1, outdated: 1, serving: 1 },
    );
    assert.deepEqual(failures, []);
    assert.equal(progress.revisionId, desired!.revisionId);
  });

  it('says of each copy that is not well why', () => {
    const errors = [{ code: 'HF_START_FAILED', message: 'no', at: '' }];
    const host = (state: 'Started' | 'Errored', ready: boolean) => ({
      state,
      health: ready ? { ready } : { ready, message: 'warming up' },
      ownedKeys: 0,
      errors: state === 'Errored' ? errors : [],
      publisher: null,
    });
    const { failures } = seen({
      'node-1': [processOf('node-1', idOf('0'), { state: 'CrashLoop', restarts: 5 })],
      'node-2': [processOf('node-2', idOf('1'), { host: host('Errored', true) })],
      'node-3': [processOf('node-3', idOf('2'), { host: host('Started', false), healthySinceMs: null })],
    });
    assert.deepEqual(
      failures.map(({ slot, kind, code, message }) => ({ slot, kind, code, message })),
      [
        { slot: '0', kind: 'crash-loop', code: null, message: 'no cause was given' },
        { slot: '1', kind: 'start-failed', code: 'HF_START_FAILED', message: 'no' },
        { slot: '2', kind: 'not-ready', code: null, message: 'warming up' },
      ],
    );
  });

  it('takes a copy that has crashed several times for a crash loop though it runs just now', () => {
    const { failures } = seen({ 'node-1': [processOf('node-1', idOf('0'), { restarts: 3 })] });
    assert.deepEqual(
      failures.map(failure => failure.kind),
      ['crash-loop'],
    );
  });

  it('tells failed starts of this revision only, and when they were tried', () => {
    const failure: Failure = {
      node: 'node-1',
      code: 'HF_START_FAILED',
      message: 'no',
      attempts: 2,
      retryAtMs: 1_700,
    };
    const failures = new Map([
      [`start ${idOf('0')}`, failure],
      ['start one/1/0123456789ab', failure],
      ['start other/1/0123456789ab', failure],
    ]);
    const { failures: told } = seen({}, { failures });
    assert.deepEqual(
      told.map(({ slot, failedAtMs }) => ({ slot, failedAtMs })),
      [{ slot: '0', failedAtMs: 700 }],
    );
    assert.deepEqual(seen({ 'node-2': [processOf('node-2', idOf('0'))] }, { failures }).failures, []);
  });

  it('blames nobody for a copy on a node that does not answer', () => {
    const progress = seen(
      { 'node-1': [processOf('node-1', idOf('0'), { state: 'CrashLoop' })] },
      { suspect: 'node-1' },
    );
    assert.deepEqual([progress.updated, progress.available, progress.failures.length], [1, 0, 0]);
  });

  it('wants no copy of "perNode" on a node that is drained', () => {
    const each = clusterOf(['node-1', 'node-2', 'node-3'], [instance('one', { instances: 'perNode' })]);
    const [progress] = progressOf({
      settings: each,
      catalog,
      restarts: {},
      maintenance: {
        'node-2': { state: 'draining', since: '', by: 'ada', reason: null, deadlineAt: null },
        'node-3': { state: 'cordoned', since: '', by: 'ada', reason: null, deadlineAt: null },
      },
      observed: [],
      failures: new Map(),
      nowMs: 1_000,
      deadAfterMs: 15_000,
    });
    assert.equal(progress!.desired, 2);
  });
});
