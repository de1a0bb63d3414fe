import { strict as assert } from 'node:assert';
import {
  createFakeSystem,
  type DirectoryEvent,
  type InstanceId,
  type NodeName,
  type OpenSession,
  type ProcessId,
  type ResourceDirectory,
} from '#core';
import { watchExpiredSessions } from '../../../node-api/supervision/session-end.ts';
import { createFakeDirectory } from '../../ownership/fake-directory.ts';

describe('watching sessions expire', () => {
  const system = createFakeSystem();
  let directory: ResourceDirectory;
  let tell: (event: DirectoryEvent) => void;
  let expired: string[];
  let stop: () => void;

  beforeEach(async () => {
    expired = [];
    const port = createFakeDirectory(system).port({ delayMs: () => 0 });
    directory = {
      ...port,
      watch(listener) {
        tell = listener;
        return () => {};
      },
    };
    stop = watchExpiredSessions(directory, 'node-1', processId => expired.push(processId));
    await system.advance(0);
  });
  afterEach(() => stop());

  const open = async (processId: string, more: Partial<OpenSession> = {}) => {
    const opening = directory.openSession({
      pool: 'a' as InstanceId,
      processId: processId as ProcessId,
      nodeName: 'node-1' as NodeName,
      address: 'http://127.0.0.1:1',
      ownsResources: true,
      capacity: 1,
      ttlMs: 500,
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
