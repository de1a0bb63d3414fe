import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Message } from '#core';
import { createAcknowledged } from '../../messaging/acknowledged.ts';
import { decodeMessage, encodeMessage } from '../../messaging/message.ts';
import { afterFailure, planSubscription } from '../../messaging/subscribe-options.ts';

describe('messages on the wire', () => {
  it('are read as they were written', () => {
    const name = fc
      .stringMatching(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,20}$/)
      .filter(text => !text.startsWith('hf-'));
    const message = fc.record(
      {
        messageId: fc.uuid(),
        source: fc.constant('s'),
        timestamp: fc.constant('2026-01-01T00:00:00.000Z'),
        messageType: fc.constantFrom('a', 'a.b-c_d'),
        content: fc.string({ unit: 'grapheme' }),
        contentType: fc.constant('text/csv'),
        properties: fc.dictionary(name, fc.string({ unit: 'grapheme' }), { maxKeys: 5 }),
      },
      { requiredKeys: ['messageId', 'source', 'timestamp', 'properties'] },
    );
    fc.assert(
      fc.property(message, one => {
        const read = decodeMessage(encodeMessage(one, 1_000_000));
        assert.deepEqual(read, { ...one, properties: { ...one.properties } } satisfies Message);
      }),
      { numRuns: 200 },
    );
  });

  it('of a stranger are read with defaults', () => {
    const read = decodeMessage({
      subject: 's',
      messageId: '1',
      headers: { x: 'y' },
      body: Buffer.from('text'),
    });
    assert.deepEqual(read, {
      messageId: '1',
      source: 'unknown',
      timestamp: '1970-01-01T00:00:00.000Z',
      messageType: 's',
      content: 'text',
      properties: { x: 'y' },
    });
  });
});

describe('a failed attempt', () => {
  it('is followed by another after a growing pause, until there were enough', () => {
    const plan = planSubscription({ maxDeliver: 4, backoff: { firstMs: 100, maxMs: 300 } }, 'instance');
    const verdicts = [1, 2, 3, 4, 5].map(attempt => afterFailure(plan, attempt, 0.999));
    assert.deepEqual(verdicts, [
      { type: 'retry', afterMs: 100 },
      { type: 'retry', afterMs: 200 },
      { type: 'retry', afterMs: 300 },
      { type: 'bury' },
      { type: 'bury' },
    ]);
    assert.deepEqual(afterFailure({ ...plan, deadLetter: false }, 4, 0), { type: 'drop' });
    assert.deepEqual(afterFailure(plan, 1, 0), { type: 'retry', afterMs: 75 });
  });

  it('options that make no sense are refused', () => {
    for (const options of [{ concurrency: 0 }, { maxDeliver: NaN }, { group: 'a b' }, { ackWaitMs: 1 }]) {
      assert.throws(() => planSubscription(options, 'instance'), { code: 'HF_REQUEST_INVALID' });
    }
  });
});

describe('acknowledged messages', () => {
  it('are remembered for the window, or until the broker knows, and no more than so many', () => {
    let nowMs = 0;
    const acknowledged = createAcknowledged({ now: () => nowMs, windowMs: 100, countMax: 2 });
    acknowledged.add('a');
    acknowledged.add('b');
    acknowledged.confirmed('b');
    nowMs = 1_000;
    assert.equal(acknowledged.has('a'), true);
    assert.equal(acknowledged.has('b'), false);
    acknowledged.confirmed('a');
    assert.equal(acknowledged.has('a'), true);
    acknowledged.add('c');
    acknowledged.add('d');
    assert.deepEqual(['a', 'c', 'd'].map(acknowledged.has), [false, true, true]);
  });
});
