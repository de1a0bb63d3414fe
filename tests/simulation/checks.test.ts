/** The checks of the simulation that no mutant has to get past others to reach: each must be able to fail. */
import assert from 'node:assert/strict';
import type { Fence, InstanceId, ProcessId, ResourceKey, SessionId } from '#core';
import { Register } from './register.ts';
import { Attempt, ClientRequest, type RequestKind } from './request.ts';
import { Scheduler } from './scheduler.ts';
import { Violation, type Invariant } from './violation.ts';

const violates = (invariant: Invariant) => (error: unknown) =>
  error instanceof Violation && error.invariant === invariant;
const register = (fenced = true) => new Register('/k' as ResourceKey, fenced, true);
const fence = (number: bigint) => number as Fence;
let ids = 0;

function request(of: Register, kind: RequestKind): ClientRequest {
  return new ClientRequest({ id: ++ids, register: of, kind, attemptsMax: 1, onAnswer: () => {} });
}

function append(to: Register, by: ClientRequest): number {
  const length = (to.head?.length ?? 0) + 1;
  to.write({ requestId: by.id, length, before: to.head });
  return length;
}

describe('the checks of the simulation', () => {
  it('find a read that misses what was acknowledged before it began', () => {
    const log = register();
    const write = request(log, 'post');
    write.finish({ type: 'ok', length: append(log, write) });
    const read = request(log, 'read');
    assert.throws(() => read.finish({ type: 'ok', length: 0 }), violates('I4-linearizable'));
  });

  it('accept a read that misses what was written while it ran', () => {
    const log = register();
    const read = request(log, 'read');
    const write = request(log, 'post');
    write.finish({ type: 'ok', length: append(log, write) });
    read.finish({ type: 'ok', length: 0 });
  });

  it('find a write that takes the place of one acknowledged before it began', () => {
    const log = register();
    const first = request(log, 'post');
    first.finish({ type: 'ok', length: append(log, first) });
    const second = request(log, 'post');
    assert.throws(() => second.finish({ type: 'ok', length: 1 }), violates('I4-linearizable'));
  });

  it('find an acknowledged write that another owner overwrites', () => {
    const log = register();
    const write = request(log, 'post');
    write.finish({ type: 'ok', length: append(log, write) });
    assert.throws(
      () => log.write({ requestId: 999, length: 1, before: null }),
      violates('I2-acknowledged-writes-stay'),
    );
  });

  it('find commits under a decreasing fence, and under one fence by two owners', () => {
    const fenced = register();
    fenced.use(fence(2n), 'one');
    assert.throws(() => fenced.use(fence(1n), 'two'), violates('I1-commits-in-fence-order'));
    assert.throws(() => fenced.use(fence(2n), 'two'), violates('I1-commits-in-fence-order'));
    const unfenced = register(false);
    unfenced.use(fence(2n), 'one');
    assert.throws(() => unfenced.use(fence(1n), 'two'), violates('I3-one-answerer'));
  });

  it('find a request that a host answers twice, or refuses after it has run it', () => {
    const claim = {
      pool: 'pool' as InstanceId,
      key: '/k' as ResourceKey,
      fence: fence(1n),
      sessionId: 's' as SessionId,
      processId: 'p' as ProcessId,
      address: 'h',
    };
    const attempt = (kind: RequestKind) =>
      new Attempt({ request: request(register(), kind), claim, from: 2 }, () => {});
    const twice = attempt('read');
    twice.answer({ type: 'failed' });
    assert.throws(() => twice.answer({ type: 'failed' }), violates('answered-exactly-once'));
    const refused = attempt('post');
    refused.execute();
    assert.throws(() => refused.answer({ type: 'not-owner' }), violates('not-executed-means-it'));
  });

  it('find what runs after it was answered as not executed, and what runs twice', () => {
    const late = request(register(), 'put');
    late.finish({ type: 'not-executed' });
    assert.throws(() => late.execute(), violates('not-executed-means-it'));
    const post = request(register(), 'post');
    post.execute();
    assert.throws(() => post.execute(), violates('executed-at-most-once'));
  });
});

describe('virtual time', () => {
  it('runs events in the order of their times, and equal ones in the order in which they were asked for', () => {
    const scheduler = new Scheduler();
    const seen: string[] = [];
    const delays = [5, 1, 3, 1, 4, 1, 5, 9, 2, 6];
    for (const [index, delay] of delays.entries())
      scheduler.after(delay, () => seen.push(`${delay}.${index}`));
    scheduler.after(2.5, () => scheduler.after(0, () => seen.push(`now ${scheduler.nowMs}`)));
    scheduler.runUntil(5);
    assert.deepEqual(seen, ['1.1', '1.3', '1.5', '2.8', 'now 2.5', '3.2', '4.4', '5.0', '5.6']);
    assert.equal(scheduler.nowMs, 5);
    scheduler.runUntil(10);
    assert.deepEqual(seen.slice(-2), ['6.9', '9.7']);
  });
});
