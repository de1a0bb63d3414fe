import assert from 'node:assert/strict';
import fc from 'fast-check';
import { createEventParser } from '#client';

const stream =
  'retry: 1000\r\n: hello\n\nid: 1\nevent: sync\ndata: {"a":1}\n\ndata: one\ndata: two\r\n\r\n: beat\n\nevent: x\ndata\n\n';
const events = [
  { event: 'sync', id: '1', data: '{"a":1}' },
  { event: 'message', id: '1', data: 'one\ntwo' },
  { event: 'x', id: '1', data: '' },
];

describe('event stream parser', () => {
  it('reads events, comments and line ends of all kinds', () => {
    assert.deepEqual(createEventParser()(stream), events);
  });

  it('reads the same however the text is cut', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(stream.length), { maxLength: 12 }), cuts => {
        const parse = createEventParser();
        const places = [0, ...cuts.sort((a, b) => a - b), stream.length];
        const found = places.slice(1).flatMap((end, index) => parse(stream.slice(places[index], end)));
        assert.deepEqual(found, events);
      }),
    );
  });

  it('refuses a line without end', () => {
    const parse = createEventParser();
    assert.throws(() => parse('x'.repeat(2 * 1024 * 1024)), RangeError);
  });
});
