import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request, type ClientRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import fastify from 'fastify';
import { takeTurns } from '../../node-manager/api/upload-turns.ts';

describe('upload turns', () => {
  const app = fastify();
  const arrived: string[] = [];
  const sent: ClientRequest[] = [];

  before(async () => {
    takeTurns(app, 2);
    app.addContentTypeParser('text/plain', (incoming, _payload, done) => {
      arrived.push(incoming.url);
      done(null);
    });
    app.post('/*', async (incoming, reply) => {
      await once(incoming.raw.resume(), 'end');
      return reply.send('done');
    });
    app.get('/*', () => 'no upload');
    await app.listen({ host: '127.0.0.1', port: 0 });
  });
  after(() => {
    for (const each of sent) each.destroy();
    return app.close();
  });

  function upload(path: string): ClientRequest {
    const { port } = app.server.address() as AddressInfo;
    const headers = { 'content-type': 'text/plain', 'content-length': 2 };
    const made = request({ port, path, method: 'POST', headers, agent: false });
    made.on('error', () => {}); // those that are broken off
    made.write('a');
    sent.push(made);
    return made;
  }

  async function until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise(resolve => setImmediate(resolve));
  }

  it('reads so many at once, the next in their order, and passes over who has gone', async () => {
    const first = upload('/1');
    await until(() => arrived.length === 1);
    upload('/2');
    await until(() => arrived.length === 2);
    let asked = 0;
    app.server.on('request', () => asked++);
    const third = upload('/3');
    await until(() => asked === 1);
    upload('/4');
    await until(() => asked === 2);
    const { port } = app.server.address() as AddressInfo;
    assert.equal(await (await fetch(`http://127.0.0.1:${port}/x`)).text(), 'no upload');
    assert.deepEqual(arrived, ['/1', '/2']);

    const connections = () =>
      new Promise<number>(resolve => app.server.getConnections((_error, count) => resolve(count)));
    const before = await connections();
    third.destroy();
    while ((await connections()) >= before) await new Promise(resolve => setImmediate(resolve));
    first.end('b');
    await once(first, 'response');
    await until(() => arrived.length === 3);
    assert.deepEqual(arrived, ['/1', '/2', '/4']);

    sent[1]!.end('b');
    await once(sent[1]!, 'response');
    const last = upload('/5');
    last.end('b');
    await once(last, 'response');
    assert.deepEqual(arrived, ['/1', '/2', '/4', '/5']);
  });
});
