import assert from 'node:assert/strict';
import { actorOf } from '#http-api';

const request = (actor?: string | string[]) => ({
  headers: actor === undefined ? {} : { 'x-holdfast-actor': actor },
  scope: 'deploy' as const,
});

describe('who a request acts for', () => {
  it('is what the caller says, with the scope that the token proves', () => {
    assert.equal(actorOf(request('ada@laptop')), 'api: ada@laptop (deploy)');
    assert.equal(actorOf(request('Ada L. <build/42>')), 'api: Ada L. _build/42_ (deploy)');
  });

  it('is the API alone when nobody says more', () => {
    assert.equal(actorOf(request()), 'api');
    assert.equal(actorOf(request('   ')), 'api');
  });

  it('names what was asked for, where that is given', () => {
    assert.equal(actorOf(request('ada@laptop'), 'undo'), 'undo: ada@laptop (deploy)');
    assert.equal(actorOf(request(), 'undo'), 'undo');
  });

  it('cannot forge a scope, write control characters, or fill the record', () => {
    assert.equal(actorOf(request('ada (admin)')), 'api: ada _admin_ (deploy)');
    assert.equal(actorOf(request('a\u001b[31m\u0000b')), 'api: a_31m_b (deploy)');
    assert(actorOf(request('x'.repeat(10_000))).length < 100);
    assert.equal(actorOf(request(['first', 'second'])), 'api: first (deploy)');
  });
});
