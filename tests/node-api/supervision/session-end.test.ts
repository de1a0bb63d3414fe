import { strict as assert } from 'node:assert';
import { pino } from 'pino';
import {
  createFakeSystem,
  HoldfastError,
  LIMITS,
  type DirectoryEvent,
  type InstanceId,
  type NodeName,
  type OpenSession,
  type ProcessId,
  type ResourceDirectory,
} from '#core';
import { createSessionEnder, watchExpiredSessions } from '../../../node-api/supervision/session-end.ts';
import { createFakeDirectory } from '../../ownership/fake-directory.ts';

describe('watching sessions expire', () => {
  const system = createFakeSystem();
  let directory: ResourceDirectory;
  let tell: (event: DirectoryEvent) => void;
  let expired: string[];
  let stop: () => void;
  let patienceMs: number;
  let forget: () => void;

  beforeEach(async () => {
    expired = [];
    const store = createFakeDirectory(system);
    forget = () => store.forget(0);
    const port = store.port({ delayMs: () => 0 });
    directory = {
      ...port,
      watch(listener) {
        tell = listener;
        return () => {};
      },
    };
    patienceMs = 0;
    stop = watchExpiredSessions(
      { system, directory, nodeName: 'node-1' },
      () => patienceMs,
      processId => expired.push(processId),
    );
    await system.advance(0);
  });
  afterEach(() => stop());

  it('waits for those that a store has forgotten to come back', async () => {
    patienceMs = 5_000;
    const [returning] = [await open('returns'), await open('frozen')];
    tell({ type: 'reset' });
    await system.advance(0);
    forget();
    tell({ type: 'reset' });
    await system.advance(4_000);
    assert.deepEqual(expired, [], 'nobody gets their keys meanwhile');
    await open('returns', { ttlMs: 60_000 });
    await system.advance(1_000);
    assert.deepEqual(expired, ['frozen']);
    tell({ type: 'session-ended', sessionId: returning, pool: 'a' as InstanceId, reason: 'expired' });
    await system.advance(0);
    assert.deepEqual(expired, ['frozen'], 'it has another session');
  });

  it('does not name a process whose older session expires', async () => {
    const older = await open('renewed');
    await open('renewed', { ttlMs: 60_000 });
    tell({ type: 'reset' });
    await system.advance(0);
    tell({ type: 'session-ended', sessionId: older, pool: 'a' as InstanceId, reason: 'expired' });
    assert.deepEqual(expired, []);
  });

  let attempts = 0;
  const open = async (processId: string, more: Partial<OpenSession> = {}) => {
    const opening = directory.openSession({
      pool: 'a' as InstanceId,
      processId: processId as ProcessId,
      nodeName: 'node-1' as NodeName,
      address: 'http://127.0.0.1:1',
      ownsResources: true,
      capacity: 1,
      ttlMs: 500,
      attempt: ++attempts,
      ...more,
    });
    await system.advance(0);
    return (await opening).sessionId;
  };

  it('names processes whose session ended while the store could not tell', async () => {
    await open('lapsed');
    await open('elsewhere', { nodeName: 'node-2' as NodeName });
    await open('lives', { ttlMs: 60_000 });
    tell({ type: 'reset' });
    await system.advance(0);
    assert.deepEqual(expired, []);
    await system.advance(1_000);
    tell({ type: 'reset' });
    await system.advance(0);
    assert.deepEqual(expired, ['lapsed']);
    tell({ type: 'reset' });
    await system.advance(0);
    assert.deepEqual(expired, ['lapsed'], 'named twice');
  });

  it('names those whose session expires, and not those who closed it', async () => {
    const [lapsed, closed] = [await open('lapsed'), await open('closed')];
    tell({ type: 'reset' });
    await system.advance(0);
    const pool = 'a' as InstanceId;
    tell({ type: 'session-ended', sessionId: closed, pool, reason: 'closed' });
    tell({ type: 'session-ended', sessionId: lapsed, pool, reason: 'expired' });
    assert.deepEqual(expired, ['lapsed']);
  });
});

describe('ending sessions of the dead', () => {
  const log = pino({ level: 'silent' });

  function setUp() {
    const system = createFakeSystem();
    const state = { away: true, asked: [] as string[], tell: (_event: DirectoryEvent) => {} };
    const ender = createSessionEnder(system, log, {
      async endSessionsOf(processId) {
        state.asked.push(processId);
        if (state.away) throw new HoldfastError('HF_COORDINATION_UNAVAILABLE', 'away');
        return 1;
      },
      watch(listener) {
        state.tell = listener;
        return () => (state.tell = () => {});
      },
    });
    return { system, state, ender };
  }

  it('is made up for when the store is back, each once, without asking a store that is away for all of them', async () => {
    const { system, state, ender } = setUp();
    for (const id of ['a', 'b', 'c']) await ender.endSessions(id);
    assert.equal(ender.waiting(), 3);
    state.asked = [];
    await system.advance(1_000);
    assert.deepEqual(new Set(state.asked), new Set(['a']));
    assert(state.asked.length <= 4, `asked ${state.asked.length} times in a second`);
    state.asked = [];
    state.away = false;
    state.tell({ type: 'reset' });
    await system.advance(0);
    assert.deepEqual(state.asked, ['a', 'b', 'c'], 'at once, not at the next turn');
    assert.equal(ender.waiting(), 0);
    await system.advance(10_000);
    assert.equal(state.asked.length, 3);
    ender.close();
  });

  it('ends when every session must have expired by itself', async () => {
    const { system, state, ender } = setUp();
    await ender.endSessions('a');
    await system.advance(LIMITS.sessionTtlMsMax - 1);
    assert.equal(ender.waiting(), 1);
    await system.advance(1_000);
    assert.equal(ender.waiting(), 0);
    state.asked = [];
    await system.advance(10_000);
    assert.deepEqual(state.asked, []);
    ender.close();
  });

  it('begins anew for one that dies while others wait, and stops when it is closed', async () => {
    const { system, state, ender } = setUp();
    await ender.endSessions('a');
    await system.advance(500);
    await ender.endSessions('b');
    ender.close();
    state.asked = [];
    await system.advance(10_000);
    assert.deepEqual(state.asked, []);
  });
});
