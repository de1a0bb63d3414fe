import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { duplexPair } from 'node:stream';
import fc from 'fast-check';
import { connectChannel, createChannel, listenForChannels, type Channel } from '#channel';
import { createFakeSystem, HoldfastError } from '#core';

const lost = { name: 'HoldfastError', code: 'HF_COORDINATION_UNAVAILABLE' };

describe('channel', () => {
  const open: Channel[] = [];

  /** Two ends; `prepare` registers handlers before either listens. */
  function pair(prepare: (there: Channel, here: Channel) => void = () => {}, system = createFakeSystem()) {
    const [left, right] = duplexPair();
    const [here, there] = [createChannel(left, system.timers), createChannel(right, system.timers)];
    prepare(there, here);
    here.listen();
    there.listen();
    open.push(here, there);
    return { here, there, system, left };
  }
  afterEach(() => {
    for (const channel of open.splice(0)) channel.close();
  });

  it('carries any JSON value both ways', async () => {
    const { here, there } = pair((there, here) => {
      there.handle('echo', (value: never) => ({ value }));
      here.handle('echo', (value: never) => ({ value }));
    });
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), fc.boolean(), async (value, forth) => {
        const sent = JSON.parse(JSON.stringify(value)) as unknown;
        assert.deepEqual(await (forth ? here : there).request('echo', sent), { value: sent });
      }),
      { numRuns: 200 },
    );
  });

  it('answers null for nothing', async () => {
    const { here } = pair(there => there.handle('nothing', () => undefined));
    assert.equal(await here.request('nothing', {}), null);
  });

  it('throws here what the other side threw: code, text, details', async () => {
    const { here } = pair(there => {
      there.handle('known', () => {
        throw new HoldfastError('HF_FENCED', 'no', { details: { fence: '7' } });
      });
      there.handle('unknown', () => Promise.reject(new TypeError('oops')));
    });
    await assert.rejects(here.request('known', {}), {
      name: 'HoldfastError',
      code: 'HF_FENCED',
      message: 'no',
      details: { fence: '7' },
    });
    await assert.rejects(here.request('unknown', {}), { code: 'HF_INTERNAL', message: /oops/ });
    await assert.rejects(here.request('unheard-of', {}), { code: 'HF_INTERNAL', message: /unheard-of/ });
  });

  it('gives a call up at its deadline, and takes no harm from the late answer', async () => {
    let answer: (value: string) => void = () => {};
    const { here, system } = pair(there => {
      there.handle('slow', () => new Promise<string>(resolve => (answer = resolve)));
      there.handle('quick', () => 'quick');
    });
    const call = here.request('slow', {}, { timeoutMs: 100 });
    const refused = assert.rejects(call, { ...lost, message: /no answer to slow within 100 ms/ });
    await here.request('quick', {});
    await system.advance(100);
    await refused;
    answer('late');
    assert.equal(await here.request('quick', {}), 'quick');
  });

  it('keeps many calls apart, whatever the order of the answers', async () => {
    const { here } = pair(there => {
      there.handle('later', async ({ number }: { number: number }) => {
        for (let turn = 0; turn < (number * 7) % 11; turn++) await Promise.resolve();
        return number;
      });
    });
    const numbers = Array.from({ length: 2_000 }, (_, number) => number);
    assert.deepEqual(await Promise.all(numbers.map(number => here.request('later', { number }))), numbers);
  });

  it('tells without waiting for an answer, in order', async () => {
    const heard: number[] = [];
    const { here } = pair(there => {
      there.handle('tell', ({ number }: { number: number }) => void heard.push(number));
      there.handle('flush', () => true);
    });
    for (let number = 0; number < 100; number++) here.notify('tell', { number });
    await here.request('flush', {});
    assert.deepEqual(
      heard,
      Array.from({ length: 100 }, (_, number) => number),
    );
  });

  it('survives a notification whose handler fails, and one that nobody handles', async () => {
    const { here } = pair(there => {
      there.handle('fails', () => Promise.reject(new Error('unheard')));
      there.handle('throws', () => {
        throw new Error('unheard');
      });
      there.handle('ping', () => 'pong');
    });
    for (const method of ['fails', 'throws', 'nobody']) here.notify(method, {});
    assert.equal(await here.request('ping', {}), 'pong');
  });

  it('fails every call under way when the connection ends, and every later one at once', async () => {
    for (const closer of ['here', 'there'] as const) {
      const { here, there } = pair(there => there.handle('never', () => new Promise(() => {})));
      const calls = Array.from({ length: 3 }, () => assert.rejects(here.request('never', {}), lost));
      (closer === 'here' ? here : there).close();
      await Promise.all([...calls, here.closed, there.closed]);
      await assert.rejects(here.request('never', {}), lost);
      assert.doesNotThrow(() => here.notify('never', {}));
      assert.doesNotThrow(() => here.close());
    }
  });

  it('ends at input that is no message', async () => {
    const { left, here } = pair();
    left.push('this is not JSON-RPC\r\n\r\n{');
    left.push('Content-Length: 3\r\n\r\n{}}');
    await here.closed;
  });

  describe('over Unix sockets', () => {
    let directory: string;
    let path: string;
    let stop: (() => Promise<void>) | undefined;
    let child: ChildProcess | undefined;

    beforeEach(async () => {
      directory = await mkdtemp(join(tmpdir(), 'holdfast-channel-'));
      path = join(directory, 'a.sock');
    });
    afterEach(async () => {
      child?.kill('SIGKILL');
      await stop?.();
      stop = child = undefined;
      await rm(directory, { recursive: true, force: true });
    });

    async function listen(): Promise<void> {
      const server = await listenForChannels(path, channel => {
        channel.handle('who', () => process.pid);
        channel.listen();
      });
      stop = () => server.close();
    }

    async function call(): Promise<Channel> {
      const channel = await connectChannel(path);
      channel.listen();
      open.push(channel);
      return channel;
    }

    it('connects processes of one user only', async () => {
      await listen();
      assert.equal((await stat(path)).mode & 0o777, 0o600);
      assert.equal(await (await call()).request('who', {}), process.pid);
    });

    it('says that nobody listens', async () => {
      await assert.rejects(connectChannel(path), lost);
      await writeFile(path, '');
      await assert.rejects(connectChannel(path), lost);
    });

    it('does not push away somebody who listens already', async () => {
      await listen();
      await assert.rejects(
        listenForChannels(path, () => {}),
        { code: 'HF_ALREADY_RUNNING' },
      );
      assert.equal(await (await call()).request('who', {}), process.pid);
    });

    it('takes the place of one that was killed', async () => {
      child = spawn(
        process.execPath,
        ['-e', `require('node:net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      await once(child.stdout!, 'data');
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
      assert((await stat(path)).isSocket());
      await listen();
      assert.equal(await (await call()).request('who', {}), process.pid);
    });

    it('notices that the other process was killed', async () => {
      const server = createServer(socket => socket.on('error', () => {}));
      await once(server.listen(path), 'listening');
      child = spawn(
        process.execPath,
        ['-e', `require('node:net').connect(${JSON.stringify(path)}, () => console.log('up')).resume()`],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      const [socket] = (await once(server, 'connection')) as [ReturnType<typeof connect>];
      const channel = createChannel(socket);
      channel.listen();
      const call = assert.rejects(channel.request('who', {}), lost);
      child.kill('SIGKILL');
      await Promise.all([call, channel.closed]);
      server.close();
    });

    it('ends all its connections when it stops listening', async () => {
      await listen();
      const channel = await call();
      await channel.request('who', {});
      await stop!();
      stop = undefined;
      await channel.closed;
      await assert.rejects(connectChannel(path), lost);
    });

    it('serves many connections', async () => {
      await listen();
      const channels = await Promise.all(Array.from({ length: 50 }, call));
      const answers = await Promise.all(channels.map(channel => channel.request('who', {})));
      assert(answers.every(pid => pid === process.pid));
    });
  });
});
