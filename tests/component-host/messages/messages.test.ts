import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Host } from '#component-host';
import type { HostConfiguration, InstanceId, Message, MessagePublisher, ProcessId, ResourceKey } from '#core';
import createLocal from '../../../publishers/local/main.ts';
import { until } from '../../support/wait.ts';
import { configuration, fixture, openWorkspace, routed, type Workspace } from '../workspace.ts';

const program = join(import.meta.dirname, '../../fixtures/component-host/runs-host.ts');
const silent = (): void => {};

interface Handled {
  key: string;
  number: number;
  processId: string;
  attempt: number;
}

describe('messages to components', function () {
  this.timeout(120_000);
  let workspace: Workspace;
  let outside: MessagePublisher;
  let children: Map<ProcessId, ChildProcess>;

  beforeEach(async () => {
    children = new Map();
    workspace = await openWorkspace();
    outside = createLocal({
      name: 'local-publisher',
      instanceId: 'outside',
      processId: 'test',
      nodeName: 'node-1',
      settings: {
        directory: '../.messages',
        messagesMax: 1e6,
        fileBytesMax: 1e9,
        deadLettersMax: 100,
        sync: false,
      },
      log: { debug: silent, info: silent, warn: silent, error: silent },
      dataDirectory: join(workspace.directory, 'data/outside'),
    });
    await outside.start();
  });
  afterEach(async () => {
    for (const processId of children.keys()) await kill(processId);
    await outside.stop();
    await workspace.close();
  });

  function settings(more: Record<string, string | boolean> = {}): HostConfiguration {
    const publisher = { ...fixture('local-publisher'), settings: {} };
    return configuration('recipient', { journal: workspace.journal, ...more }, { publisher });
  }

  async function host(more = {}): Promise<Host> {
    const started = await workspace.host();
    await started.configure(settings(more));
    await started.start();
    return started;
  }

  async function hostProcess(): Promise<ProcessId> {
    const launch = workspace.launch({ logLevel: 'warn' });
    const child = fork(program, { stdio: 'inherit' });
    children.set(launch.processId, child);
    child.send({ launch, configuration: settings() });
    await once(child, 'message');
    return launch.processId;
  }

  /** With the agent's proof of death. */
  async function kill(processId: ProcessId): Promise<void> {
    const child = children.get(processId);
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
    await workspace.coordination.directory.endSessionsOf(processId);
  }

  const message = (number: number, properties: Record<string, string>): Message => ({
    messageId: `${properties.key ?? ''}-${number}`,
    source: 'outside',
    timestamp: '2026-01-01T00:00:00.000Z',
    messageType: 'work',
    content: String(number),
    properties,
  });

  const handled = (): Handled[] =>
    workspace.lines().flatMap(line => {
      const [what, key, number, processId, attempt] = line.split(' ');
      if (what !== 'handled') return [];
      return [{ key: key!, number: Number(number), processId: processId!, attempt: Number(attempt) }];
    });

  async function ownerOf(key: string): Promise<ProcessId> {
    const claim = await workspace.coordination.directory.lookup('pool' as InstanceId, key as ResourceKey);
    return claim!.processId;
  }

  it('go to the owner of their key, none lost and in order, while owners and the one who hands them out are killed', async () => {
    const all = [await hostProcess(), await hostProcess(), await hostProcess()];
    const keys = ['/a', '/b', '/c', '/d', '/e', '/f'];
    let published = 0;
    let on = true;
    const load = (async () => {
      for (; on; published++) {
        for (const key of keys) await outside.publish(message(published, { key }));
        await new Promise(resolve => setTimeout(resolve, 40));
      }
    })();
    /** Of every key, more than now. */
    const progress = async () => {
      const before = published;
      await until('every key goes on', async () => {
        const done = handled();
        return keys.every(key => done.some(one => one.key === key && one.number >= before));
      });
    };
    try {
      await progress();
      const { holder: server } = (await workspace.coordination.leases.inspect('messages/pool/work'))!;
      const owners = new Set(await Promise.all(keys.map(ownerOf)));
      assert(owners.size > 1, 'keys are spread');
      await kill([...owners].find(owner => owner !== server)!);
      await progress();
      await kill(server as ProcessId);
      await hostProcess();
      await progress();
    } finally {
      on = false;
      await load;
    }
    await until('all are handled', async () => {
      const done = handled();
      return keys.every(key => done.some(one => one.key === key && one.number === published - 1));
    });
    const done = handled();
    for (const key of keys) {
      const first = new Set(done.filter(one => one.key === key).map(({ number }) => number));
      assert.deepEqual(
        [...first],
        Array.from({ length: published }, (_, number) => number),
        `of ${key}`,
      );
    }
    assert(new Set(done.map(({ processId }) => processId)).size >= all.length - 1);
    assert.deepEqual((await outside.deadLetters!.list()).deadLetters, []);
  });

  it('that fail at the owner are tried again before those behind them; one without a key is a dead letter', async () => {
    await host();
    await outside.publish(message(1, { key: '/a', fail: '2' }));
    await outside.publish(message(2, { key: '/a' }));
    await outside.publish(message(3, {}));
    await until('both are handled', async () => handled().length === 2);
    assert.deepEqual(
      handled().map(({ number, attempt }) => [number, attempt]),
      [
        [1, 3],
        [2, 1],
      ],
    );
    const [letter] = await until('the dead letter', async () => {
      const { deadLetters } = await outside.deadLetters!.list({ group: 'pool' });
      return deadLetters.length > 0 && deadLetters;
    });
    assert.match(letter!.reason, /it has no property key/);
  });

  it('cannot be brought by requests from outside', async () => {
    const one = await host();
    const headers = { 'hf-message-delivery': 'guessed' };
    const answer = await routed(workspace, one, '/a', { key: '/a', method: 'POST', headers, body: '{}' });
    assert.equal(answer.text, 'guessed', 'it is the component that has answered');
    assert.deepEqual(handled(), []);
  });

  it('are spread over the copies of an instance, each once, while copies come and go', async () => {
    const copies = [await host({ keyed: false }), await host({ keyed: false })];
    let published = 0;
    const publish = async (count: number) => {
      for (let index = 0; index < count; index++) {
        await outside.publish(message(published++, { pauseMs: '2' }));
      }
    };
    await publish(40);
    await until(
      'both have some',
      async () => new Set(handled().map(({ processId }) => processId)).size === 2,
    );
    const stopped = copies[0]!.stop();
    await publish(40);
    await stopped;
    await host({ keyed: false });
    await publish(40);
    await until('all are handled', async () => handled().length >= published);
    const numbers = handled().map(({ number }) => number);
    assert.deepEqual(
      [...numbers].sort((a, b) => a - b),
      Array.from({ length: published }, (_, number) => number),
    );
  });

  it('give what is published while they are handled their correlation and trace context', async () => {
    await host({ keyed: false });
    const seen: Message[] = [];
    await outside.subscribe!('next', async one => void seen.push(one));
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    await outside.publish(message(1, { forward: 'next', traceparent }));
    await until('it is forwarded', async () => seen.length === 1);
    assert.deepEqual(seen[0]!.properties, { traceparent, correlationId: '-1' });
  });
});
