import { strict as assert } from 'node:assert';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { createSystem, isRunning } from '#core';
import { buryTree, markedProcesses, processMark } from '../../../node-api/supervision/process-tree.ts';
import { sortLeftovers } from '../../../node-api/supervision/recovery.ts';
import type { HostRecord } from '../../../node-api/store/records.ts';
import { identityOf } from '../agent-harness.ts';

const system = createSystem();

describe('node API: process tree', () => {
  const children: ChildProcess[] = [];
  afterEach(async () => {
    for (const child of children.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
  });

  function start(command: string, words: string[], mark: string): ChildProcess {
    const child = spawn(command, words, {
      detached: true,
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { PATH: process.env.PATH, [processMark]: mark },
    });
    children.push(child);
    return child;
  }

  it('kills the leader, its group, and what left the group', async () => {
    const leader = start('sh', ['-c', 'sleep 600 & echo $!; setsid sleep 600 & echo $!; wait'], 'tree-1');
    const lines = createInterface({ input: leader.stdout! })[Symbol.asyncIterator]();
    const inGroup = identityOf(Number((await lines.next()).value));
    const escaped = identityOf(Number((await lines.next()).value));
    const identity = identityOf(leader.pid!);
    assert.ok((markedProcesses().get('tree-1') ?? []).length >= 2);
    await buryTree(system, 'tree-1', identity);
    assert.deepEqual([identity, inGroup, escaped].map(isRunning), [false, false, false]);
    assert.equal(markedProcesses().get('tree-1'), undefined);
  });

  it('does not touch a process that has the leader’s pid but not its start time', async () => {
    const stranger = start('sleep', ['600'], 'another');
    const identity = identityOf(stranger.pid!);
    await buryTree(system, 'tree-2', { ...identity, startTime: '1' });
    assert.ok(isRunning(identity));
  });

  it('sorts what an earlier agent left', () => {
    const record = (processId: string, pid: number | null): HostRecord => ({
      processId,
      pid,
      startTime: pid === null ? null : '1',
      secretSha256: '',
      packageName: 'h',
      packageVersion: '1.0.0',
      memoryMb: null,
      spawnedBootMs: 0,
    });
    const records = [record('a', 1), record('b', 2), record('c', null)];
    const sorted = sortLeftovers(records, ['a', 'x', 'y'], {
      isRunning: ({ pid }) => pid === 1,
      isOurs: mark => mark === 'x',
    });
    assert.deepEqual(
      sorted.alive.map(item => item.processId),
      ['a'],
    );
    assert.deepEqual(
      sorted.dead.map(item => item.processId),
      ['b', 'c'],
    );
    assert.deepEqual(sorted.strays, ['x']);
  });
});
