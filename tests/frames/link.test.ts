import assert from 'node:assert/strict';
import fc from 'fast-check';
import { resetCode, type IncomingRequest } from '#frames';
import { collector, createPair, plain } from './pair.ts';

const windowBytes = 64 * 1024;

/** Large ones by name, or a failure would print all of them. */
function bytesOf(body: Uint8Array | string | null): Buffer | null {
  if (body === null) return null;
  return typeof body === 'string' ? Buffer.alloc(50_000, 9) : Buffer.from(body);
}

describe('a connection in frames', () => {
  it('carries requests and answers unharmed, however the bytes are cut', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'z', '0', '/', '%', '-', 'é'), maxLength: 40 });
    const message = fc.record({
      target: text,
      key: text,
      channel: text,
      headers: text,
      fence: fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }),
      body: fc.oneof(
        fc.constant(null),
        fc.uint8Array({ minLength: 1, maxLength: 200 }),
        fc.constant('large' as const),
      ),
      pieces: fc.array(fc.integer({ min: 1, max: 30_000 }), { maxLength: 3 }),
    });
    const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 70_000 })), {
      minLength: 1,
      maxLength: 9,
    });
    fc.assert(
      fc.property(fc.array(message, { minLength: 1, maxLength: 5 }), sizes, (messages, cuts) => {
        let cut = 0;
        const got: { request: IncomingRequest; body: Buffer[] }[] = [];
        const pair = createPair(
          request => {
            const entry = { request, body: request.body ? [request.body] : [] };
            got.push(entry);
            const answer = () => {
              const whole = Buffer.concat(entry.body);
              request.respond({ status: 200, reason: 'Fine', headers: 'a: b\r\n' }, whole, true);
            };
            if (request.bodyIsWhole) return answer();
            request.receiver = {
              onData: chunk => entry.body.push(Buffer.from(chunk)) > 0,
              onEnd: answer,
              onReset: assert.fail,
            };
            request.resume();
          },
          () => cuts[cut++ % cuts.length]!,
        );
        const answers = messages.map(each => {
          const answer = collector();
          const body = bytesOf(each.body);
          const sent = pair.client.send({ ...plain, ...each, body, more: each.pieces.length > 0 }, answer, 0);
          for (const bytes of each.pieces) sent.write(Buffer.alloc(bytes, 'p'));
          if (each.pieces.length > 0) sent.end();
          return answer;
        });
        pair.settle();
        assert.deepEqual(pair.closed, {});
        for (const [index, { target, key, channel, headers, fence, body, pieces }] of messages.entries()) {
          const { request } = got.find(each => each.request.id === index + 1)!;
          const { method } = request;
          assert.deepEqual(
            {
              method,
              target: request.target,
              key: request.key,
              channel: request.channel,
              headers: request.headers,
              fence: request.fence,
            },
            { method: 'GET', target, key, channel, headers, fence },
          );
          const sent = Buffer.concat([
            bytesOf(body) ?? Buffer.alloc(0),
            ...pieces.map(bytes => Buffer.alloc(bytes, 'p')),
          ]);
          const answer = answers[index]!;
          assert.ok(
            answer.ended && answer.status === 200 && answer.body().equals(sent),
            'the same bytes came back',
          );
        }
        assert.equal(pair.client.streams.size + pair.host.streams.size, 0, 'nothing is left over');
      }),
      { numRuns: 40 },
    );
  });

  it('lives on or ends with a reason, whatever a peer sends, and holds no more than a frame of it', () => {
    const frame = fc
      .record({
        length: fc.oneof(fc.nat(300), fc.nat(0xffff_ffff)),
        type: fc.nat(14),
        flags: fc.nat(3),
        stream: fc.nat(5),
        payload: fc.uint8Array({ maxLength: 300 }),
      })
      .map(({ length, type, flags, stream, payload }) => {
        const header = Buffer.alloc(10);
        header.writeUInt32BE(length < 301 ? payload.length : length);
        header[4] = type;
        header[5] = flags;
        header.writeUInt32BE(stream, 6);
        return Buffer.concat([header, payload]);
      });
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 12 }), fc.boolean(), (frames, toHost) => {
        const pair = createPair(request =>
          request.respond({ status: 200, reason: '', headers: '' }, 'x', true),
        );
        const answer = collector();
        pair.client.send({ ...plain, more: true }, answer, 0);
        pair.settle();
        const victim = toHost ? pair.host : pair.client;
        for (const each of frames) victim.receive(each);
        const problem = toHost ? pair.closed.host : pair.closed.client;
        if (problem === undefined) return;
        assert.ok(problem === null || problem.length > 0);
        victim.ended(problem ?? 'over');
        assert.equal(victim.streams.size, 0);
      }),
      { numRuns: 500 },
    );
  });

  it('takes nothing from somebody who has not proved that he knows the secret', () => {
    let requests = 0;
    const pair = createPair(() => requests++);
    const [bytes] = pair.client.take();
    const forged = Buffer.from(bytes!);
    forged.fill(1, 10);
    pair.host.receive(forged);
    assert.match(pair.closed.host!, /no proof/);
    const second = createPair(() => requests++);
    second.client.take();
    second.client.send(plain, collector(), 0);
    second.host.receive(Buffer.concat(second.client.take()));
    assert.match(second.closed.host!, /hello must come first/);
    assert.equal(requests, 0);
  });

  it('bounds what one stream may have on its way, and lets others pass it', () => {
    const requests: IncomingRequest[] = [];
    const pair = createPair(request => requests.push(request));
    const slow = pair.client.send({ ...plain, more: true }, collector(), 0);
    let accepted = 0;
    while (slow.write(Buffer.alloc(10_000))) accepted += 10_000;
    pair.settle();
    assert.ok(accepted <= windowBytes);
    const answer = collector();
    pair.client.send(plain, answer, 0);
    pair.settle();
    requests[1]!.respond({ status: 204, reason: '', headers: '' }, null, true);
    pair.settle();
    assert.equal(answer.status, 204);
    let taken = 0;
    requests[0]!.receiver = { onData: chunk => (taken += chunk.length) > 0, onEnd() {}, onReset() {} };
    requests[0]!.resume();
    pair.settle();
    assert.ok(taken >= accepted, 'the rest came when the reader read');
  });

  it('ends a connection over which more comes than was asked for', () => {
    const pair = createPair(() => {});
    pair.client.send({ ...plain, more: true }, collector(), 0);
    pair.settle();
    for (let sent = 0; sent <= windowBytes; sent += 1_024) {
      pair.client.writer.data(1, 0, Buffer.alloc(1_024));
      pair.host.receive(Buffer.concat(pair.client.take()));
    }
    assert.match(pair.closed.host!, /more of a body was sent than asked for/);
  });

  it('resets one stream without the others hearing of it', () => {
    const requests: IncomingRequest[] = [];
    const pair = createPair(request => requests.push(request));
    const answers = [collector(), collector(), collector(), collector()];
    for (const answer of answers) pair.client.send(plain, answer, 0);
    pair.settle();
    requests[0]!.reset(resetCode.notOwner, 'not mine');
    requests[1]!.respond({ status: 200, reason: '', headers: '' }, null, false);
    requests[1]!.breakOff('ownership ended');
    requests[2]!.reset(resetCode.cycle, '{}');
    requests[3]!.respond({ status: 200, reason: '', headers: '' }, null, false);
    requests[3]!.end('t: 1\r\n');
    pair.settle();
    assert.deepEqual(
      answers.map(each => each.failure?.type ?? (each.ended ? each.trailers : 'open')),
      ['not-owner', 'broken', 'cycle', 't: 1\r\n'],
    );
  });

  it('tells what was never sent from what may have been executed when a connection ends', () => {
    const pair = createPair(() => {});
    const [sent, unsent] = [collector(), collector()];
    pair.client.send(plain, sent, 0);
    pair.client.take();
    pair.client.send(plain, unsent, 0);
    pair.client.ended('reset by peer');
    assert.deepEqual([sent.failure?.type, unsent.failure?.type], ['broken', 'unsent']);
  });

  it('refuses by name what comes after its goaway, and ends when the peer has agreed and all is answered', () => {
    const requests: IncomingRequest[] = [];
    const pair = createPair(request => requests.push(request));
    const [before, after] = [collector(), collector()];
    pair.client.send(plain, before, 0);
    pair.settle();
    pair.host.leave();
    const goaway = Buffer.concat(pair.host.take());
    pair.client.send(plain, after, 0); // crosses the goaway on the wire
    const crossing = Buffer.concat(pair.client.take());
    pair.client.receive(goaway);
    assert.ok(pair.leaving() && !pair.client.open);
    pair.host.receive(crossing);
    pair.settle();
    assert.deepEqual([requests.length, after.failure?.type], [1, 'refused']);
    assert.equal(pair.closed.host, undefined, 'it waits for its answer');
    requests[0]!.respond({ status: 200, reason: '', headers: '' }, 'done', true);
    pair.settle();
    assert.equal(before.body().toString(), 'done');
    assert.deepEqual(pair.closed, { host: null, client: null });
  });

  it('gives up a request whose answer does not begin in time, and no other', () => {
    const requests: IncomingRequest[] = [];
    const pair = createPair(request => requests.push(request));
    const [late, young] = [collector(), collector()];
    pair.client.send(plain, late, 0);
    pair.client.send(plain, young, 50);
    pair.settle();
    pair.client.expire(100, 100);
    pair.settle();
    assert.deepEqual([late.failure?.type, young.failure], ['timeout', null]);
    assert.deepEqual([requests[0]!.aborted, requests[1]!.aborted], [true, false]);
  });

  it('carries bytes both ways after a request that asks for a tunnel', () => {
    let request: IncomingRequest | null = null;
    const pair = createPair(incoming => (request = incoming));
    const answer = collector();
    const sent = pair.client.send({ ...plain, more: true, upgrade: true }, answer, 0);
    pair.settle();
    assert.ok(request!.upgrade);
    request!.respond({ status: 101, reason: '', headers: 'upgrade: x\r\n' }, null, false);
    request!.receiver = {
      onData: chunk => request!.write(Buffer.from(chunk)),
      onEnd: () => request!.end(),
      onReset: assert.fail,
    };
    request!.resume();
    sent.write(Buffer.from('ping'));
    pair.settle();
    assert.deepEqual([answer.status, answer.body().toString()], [101, 'ping']);
    sent.end();
    pair.settle();
    assert.ok(answer.ended);
    assert.equal(pair.host.streams.size, 0);
  });
});
