import assert from 'node:assert/strict';
import { channelKey, verifyChannelKey } from '#ownership';

describe('channel keys', () => {
  it('are made by the secret for one session, and say nothing of either', () => {
    const made = channelKey('secret', 'session-1');
    assert.match(made, /^[0-9a-f]{64}$/);
    assert.equal(made, channelKey('secret', 'session-1'));
    assert.notEqual(made, channelKey('secret', 'session-2'));
    assert.notEqual(made, channelKey('other', 'session-1'));
  });

  it('are believed only whole and only for their session', () => {
    const made = channelKey('secret', 'session-1');
    assert(verifyChannelKey('secret', 'session-1', made));
    for (const wrong of [
      undefined,
      '',
      made.slice(1),
      `${made}0`,
      made.toUpperCase(),
      'z'.repeat(64),
      [made],
    ]) {
      assert(!verifyChannelKey('secret', 'session-1', wrong), String(wrong));
    }
    assert(!verifyChannelKey('secret', 'session-2', made));
    assert(!verifyChannelKey('other', 'session-1', made));
  });
});
