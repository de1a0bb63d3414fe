/** The programs in docs/component-author.md that name their file: they compile, and do what the text says. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import type { RequestListener } from 'node:http';
import type { Component, ComponentContext, Message, Resource, WebSocketEvents } from '#core';
import { makeContext } from '../components/sqlite-service/harness.ts';

const root = join(import.meta.dirname, '../..');
const signal = new AbortController().signal;

describe('docs/component-author.md: its programs', () => {
  let directory: string;
  const files: string[] = [];

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'holdfast-guide-'));
    await writeFile(join(directory, 'package.json'), '{"type":"module"}');
    const guide = await readFile(join(root, 'docs/component-author.md'), 'utf8');
    for (const [, name, code] of guide.matchAll(/^```ts\n\/\/ (\S+\.ts)\n([^]*?)^```$/gm)) {
      const file = join(directory, name!);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, code!);
      await copyFile(join(root, 'core/component.ts'), join(dirname(file), 'component.d.ts'));
      files.push(file);
    }
    assert.equal(files.length, 5);
  });
  after(() => rm(directory, { recursive: true, force: true }));

  it('compile in strict mode', async function () {
    this.timeout(60_000);
    const options = ['--noEmit', '--strict', '--skipLibCheck', '--allowImportingTsExtensions'];
    const platform = ['--module', 'nodenext', '--target', 'es2024', '--lib', 'es2024', '--types', 'node'];
    await promisify(execFile)(
      join(root, 'node_modules/.bin/tsc'),
      ['--ignoreConfig', ...options, ...platform, '--typeRoots', join(root, 'node_modules/@types'), ...files],
      { cwd: directory },
    ).catch((error: { stdout: string }) => assert.fail(error.stdout));
  });

  it('the ledger refuses an older owner, a fence seen before, and a state that is missing', async () => {
    const { default: create } = (await import(join(directory, 'ledger/main.ts'))) as {
      default: (context: ComponentContext) => Component;
    };
    const component = create(makeContext(directory, {}, 'host-1'));
    const open = (fence: bigint, hadOwner = true) => {
      const resource: Resource = {
        key: '/ledger/a',
        fence,
        hadOwner,
        signal,
        assertOwned() {},
        alarm: () => Promise.resolve(),
      };
      return component.openResource!(resource);
    };
    const book = (amount: string) =>
      new Request('http://localhost/ledger/a', { method: 'POST', body: amount });
    await assert.rejects(open(1n), { code: 'HF_STATE_MISSING' });
    const older = await open(1n, false);
    assert.deepEqual(await (await older.fetch(book('5'))).json(), { balance: 5 });
    const newer = await open(2n);
    await assert.rejects(async () => older.fetch(book('1')), { code: 'HF_FENCED', details: { fence: '2' } });
    await assert.rejects(open(2n), { code: 'HF_FENCED' });
    assert.deepEqual(await (await newer.fetch(book('-2'))).json(), { balance: 3 });
    await older.close();
    await newer.close();
  });

  it('the thermostat takes what is wanted of its room, tells others, and refuses what is no temperature', async () => {
    const { default: create } = (await import(join(directory, 'thermostat/main.ts'))) as {
      default: (context: ComponentContext) => Component;
    };
    const context = makeContext(directory, {}, 'host-1');
    const asked: unknown[] = [];
    const told: Message[] = [];
    context.subscribe = (...words) => void asked.push(words);
    const publisher = { publish: async (message: Message) => void told.push(message) };
    Object.defineProperty(context, 'publisher', { value: publisher });
    const component = create(context);
    await component.start(signal);
    assert.deepEqual(asked, [['temperature.wanted', { key: 'room', maxDeliver: 3 }]]);
    const alarm = () => Promise.resolve();
    const handler = await component.openResource!({
      key: '/rooms/1',
      fence: 1n,
      signal,
      assertOwned() {},
      alarm,
    });
    const delivery = { attempt: 1, group: 'heating', signal };
    const wanted = (content: string): Message => ({
      messageId: 'm-1',
      source: 's',
      timestamp: '2026-01-01T00:00:00.000Z',
      content,
      properties: { room: '/rooms/1' },
    });
    await handler.onMessage!(wanted('21.5'), delivery);
    await assert.rejects(handler.onMessage!(wanted('warm'), delivery), /"warm" is no temperature/);
    assert.deepEqual(
      told.map(({ messageId, content }) => [messageId, content]),
      [['m-1-set', '21.5']],
    );
    const shown = await handler.fetch(new Request('http://localhost/rooms/1'));
    assert.deepEqual(await shown.json(), { room: '/rooms/1', degrees: 21.5 });
  });

  it('the orders book stock under their name, and their alarm gives it back until that has succeeded', async () => {
    const { default: create } = (await import(join(directory, 'orders/main.ts'))) as {
      default: (context: ComponentContext) => Component;
    };
    const calls: string[] = [];
    const alarms: (number | null)[] = [];
    let status = 200;
    const context = makeContext(directory, {}, 'host-1');
    context.resource = (instanceId, key) => ({
      async fetch(path, init) {
        assert(typeof path === 'string');
        calls.push(`${init?.method} ${path} of ${instanceId} ${key}`);
        return new Response('booked', { status });
      },
    });
    const handler = await create(context).openResource!({
      key: '/orders/tea',
      fence: 1n,
      signal,
      assertOwned() {},
      alarm: async at => void alarms.push(at && at.getTime()),
    });
    const order = (method: string) => handler.fetch(new Request('http://localhost/orders/tea', { method }));
    assert.equal(await (await order('POST')).text(), 'booked');
    assert(alarms[0]! > Date.now());
    await handler.alarm!();
    status = 503;
    await assert.rejects(handler.alarm!(), /answered 503/);
    assert.deepEqual(
      calls,
      ['PUT', 'DELETE', 'DELETE'].map(
        method => `${method} /stock/tea?order=%2Forders%2Ftea of stock /stock/tea`,
      ),
    );
    assert.equal((await order('DELETE')).status, 204);
    assert.equal(alarms.at(-1), null);
  });

  it('the room tells everybody what somebody says, lets nobody in without a name, and says goodbye', async () => {
    const { default: create } = (await import(join(directory, 'room/main.ts'))) as {
      default: () => Component;
    };
    const handler = await create().openResource!({
      key: '/room/a',
      fence: 1n,
      signal,
      assertOwned() {},
      alarm: async () => {},
    });
    async function enter(query: string) {
      const heard: unknown[] = [];
      let events: WebSocketEvents = {};
      const refused = await handler.upgrade!({
        request: new Request(`http://localhost/room/a${query}`),
        protocols: ['room.1'],
        accept(given = {}) {
          events = given;
          const send = async (data: unknown) => heard.push(data) > 0;
          return { protocol: given.protocol ?? '', bufferedBytes: 0, send, close() {} };
        },
      });
      return { heard, events, refused };
    }
    assert.equal((await enter('')).refused!.status, 400);
    const [ada, bob] = [await enter('?name=ada'), await enter('?name=bob')];
    assert.equal(ada.events.protocol, 'room.1');
    await ada.events.onMessage!('hello');
    ada.events.onClose!(1000, '');
    await bob.events.onMessage!('bye');
    await bob.events.onLeaving!();
    assert.deepEqual(ada.heard, ['ada: hello']);
    assert.deepEqual(bob.heard, ['ada: hello', 'bob: bye', '/room/a moves']);
  });

  it('the adapter passes requests and answers through whole', async () => {
    const { wrapNodeApplication } = (await import(join(directory, 'wrapped/node-application.ts'))) as {
      wrapNodeApplication: (application: RequestListener) => Component;
    };
    const component = wrapNodeApplication((request, response) => {
      if (request.url === '/wrapped/moved') return void response.writeHead(302, { location: '/there' }).end();
      if (/gzip/.test(request.headers['accept-encoding'] ?? '')) {
        return void response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('packed'));
      }
      response.writeHead(201, { 'content-type': 'text/plain', 'x-url': request.url });
      request.pipe(response);
    });
    await component.start(signal);
    try {
      const posted = await component.fetch!(
        new Request('http://localhost:8000/wrapped/a?b=%20c', {
          method: 'POST',
          body: 'x'.repeat(300_000),
          headers: { 'accept-encoding': 'gzip', connection: 'keep-alive', 'transfer-encoding': 'chunked' },
        }),
      );
      assert.equal(posted.status, 201);
      assert.equal(posted.headers.get('x-url'), '/wrapped/a?b=%20c');
      assert.equal(posted.headers.get('content-encoding'), null);
      assert.equal((await posted.text()).length, 300_000);
      const moved = await component.fetch!(new Request('http://localhost:8000/wrapped/moved'));
      assert.equal(moved.status, 302);
      assert.equal(moved.headers.get('location'), '/there');
    } finally {
      await component.stop(signal);
    }
  });
});
