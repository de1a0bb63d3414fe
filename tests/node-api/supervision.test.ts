import { strict as assert } from 'node:assert';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  signalProcess,
  type ApiEvent,
  type ErrorBody,
  type InstanceId,
  type NodeName,
  type ProcessId,
  type ProcessInfo,
} from '#core';
import {
  componentPackage,
  createWorkplace,
  hostPackage,
  identityOf,
  untilGone,
  type AgentClient,
  type Workplace,
} from './agent-harness.ts';

const quick = { maxAttempts: 2, windowMs: 60_000, backoffMs: 1, backoffMaxMs: 5 };

describe('node API: supervision', () => {
  let workplace: Workplace;
  let agent: AgentClient;

  beforeEach(async () => {
    workplace = await createWorkplace();
    agent = await workplace.agent();
    await agent.upload(hostPackage());
    await agent.upload(componentPackage());
  });
  afterEach(() => workplace.dispose());

  const openSession = (info: ProcessInfo, ttlMs: number) =>
    workplace.coordination.directory.openSession({
      pool: 'a' as InstanceId,
      processId: info.processId as ProcessId,
      nodeName: 'node-1' as NodeName,
      address: 'http://127.0.0.1:1',
      ownsResources: true,
      capacity: 1,
      ttlMs,
      attempt: 1,
    });

  const only = async (): Promise<ProcessInfo | undefined> => (await agent.processes())[0];

  it('starts a killed process again, with a new id, finds the old one among the ended, and is ready all the while', async () => {
    const first = (await agent.start('worker', { settingsId: 'a/0', restart: quick })).body;
    signalProcess(identityOf(first.pid), 'SIGKILL');
    const again = await workplace.until('the restart', async () => {
      assert.equal((await agent.call('GET', '/health/ready')).status, 200);
      const info = await only();
      return info?.state === 'Running' && info.restarts === 1 ? info : null;
    });
    assert.notEqual(again.processId, first.processId);
    assert.notEqual(again.pid, first.pid);
    assert.equal(again.settingsId, 'a/0');
    assert.equal(again.lastExit?.signal, 'SIGKILL');
    const old = await agent.call<ProcessInfo>(
      'GET',
      `/api/node/processes/worker/${first.processId}?all=true`,
    );
    assert.deepEqual([old.status, old.body.state], [200, 'Exited']);
  });

  it('reports a crash loop in list and events, and tries again when it is asked to start', async () => {
    const body = { settingsId: 'a/0', restart: quick, settings: { crashWhen: file('go') } };
    const started = await agent.start('worker', body);
    assert.equal(started.status, 201);
    await writeFile(file('go'), '');
    const looping = await workplace.until('the crash loop', async () => {
      const info = await only();
      return info?.state === 'CrashLoop' ? info : null;
    });
    assert.equal(looping.pid, null);
    assert.equal(looping.restarts, 2);
    assert.equal(looping.lastExit?.code, 12);
    assert.match(looping.lastExit.reason, /code 12/);
    const metrics = await agent.call<string>('GET', '/metrics');
    assert.match(metrics.body, /holdfast_node_processes\{state="CrashLoop"\} 1/);
    assert.match(metrics.body, /holdfast_node_events_total\{type="process-crash-loop"\} 1/);

    const retried = await agent.start('worker', { ...body, settings: {} });
    assert.deepEqual([retried.status, retried.body.state, retried.body.restarts], [201, 'Running', 0]);
    assert.equal((await agent.processes()).length, 1);
  });

  it('ends the session of a killed process at once, long before it would expire', async () => {
    const info = (await agent.start('worker', { settingsId: 'a/0' })).body;
    const { directory } = workplace.coordination;
    await openSession(info, 300_000);
    const ended = Promise.withResolvers<string>();
    const unwatch = directory.watch(event => {
      if (event.type === 'session-ended') ended.resolve(event.reason);
    });
    signalProcess(identityOf(info.pid), 'SIGKILL');
    assert.equal(await ended.promise, 'died');
    unwatch();
  });

  it('ends a frozen process whose session has expired, so that it lets go of its files', async () => {
    const info = (await agent.start('worker', { settingsId: 'a/0', restart: { ...quick, maxAttempts: 0 } }))
      .body;
    await openSession(info, 500);
    signalProcess(identityOf(info.pid), 'SIGSTOP');
    await untilGone(identityOf(info.pid));
    const state = await workplace.until('its state', async () => {
      const now = await only();
      return now?.state === 'CrashLoop' ? now : null;
    });
    assert.match(state.lastExit?.reason ?? '', /session had expired/);
  });

  it('leaves a process alone whose session has expired but which has let go of everything', async () => {
    const info = (await agent.start('worker', { settingsId: 'a/0', restart: quick })).body;
    const expired = Promise.withResolvers<void>();
    const unwatch = workplace.coordination.directory.watch(event => {
      if (event.type === 'session-ended' && event.reason === 'expired') expired.resolve();
    });
    await openSession(info, 500);
    await expired.promise;
    unwatch();
    // The agent looks at one after the other: when it has ended the second, it is through with the first.
    const frozen = (await agent.start('worker', { settingsId: 'b/0', restart: { ...quick, maxAttempts: 0 } }))
      .body;
    await openSession(frozen, 500);
    signalProcess(identityOf(frozen.pid), 'SIGSTOP');
    await untilGone(identityOf(frozen.pid));
    const found = (await agent.processes()).find(one => one.processId === info.processId);
    assert.deepEqual([found?.state, found?.restarts], ['Running', 0]);
  });

  it('kills a grandchild that left the process group, after a stop and after a crash', async () => {
    for (const crash of [false, true]) {
      const settings = { escape: true };
      const info = (await agent.start('worker', { settingsId: 'a/0', restart: quick, settings })).body;
      const file = join(workplace.dataDirectory, 'hosts', info.processId, 'grandchild.pid');
      const grandchild = identityOf(Number(await readFile(file, 'utf8')));
      if (crash) signalProcess(identityOf(info.pid), 'SIGKILL');
      else assert.equal((await agent.kill('worker/kill')).body.killed.length, 1);
      await untilGone(grandchild);
    }
  });

  it('ends a process that ignores SIGTERM and does not answer', async () => {
    const settings = { ignoreSigterm: true, hangInShutdown: true };
    const info = (await agent.start('worker', { settingsId: 'a/0', settings })).body;
    const identity = identityOf(info.pid);
    const outcome = await agent.kill('worker/kill', 300);
    assert.deepEqual(outcome.body, { killed: [info.processId], failed: [] });
    await untilGone(identity);
    const [ended] = await agent.processes(true);
    assert.equal(ended?.lastExit?.signal, 'SIGKILL');
    assert.equal(ended.lastExit.reason, 'stopped by request');
  });

  it('does not restart what was asked to stop', async () => {
    await agent.start('worker', { settingsId: 'a/0', restart: quick });
    await agent.kill('worker/kill');
    assert.deepEqual(await agent.processes(), []);
  });

  it('explains a host that dies at its start by its last words', async () => {
    await agent.upload(hostPackage('1.0.1', { crashAtStart: true }), 'PUT');
    const answer = await agent.start('worker', {});
    const error = answer.body as unknown as ErrorBody;
    assert.deepEqual([answer.status, error.code], [422, 'HF_START_FAILED']);
    assert.match(error.message, /code 7.*flux capacitor/s);
    assert.deepEqual(await agent.processes(), []);
  });

  it('gives a start its deadline, also with a host that never says hello or proves nothing', async () => {
    await agent.agent.close({ stopHosts: true });
    agent = await workplace.agent({ startTimeoutMs: 1_000 });
    for (const [version, behaviour] of [
      ['1.0.1', { neverHello: true, ignoreSigterm: true }],
      ['1.0.2', { wrongSecret: true }],
    ] as const) {
      await agent.upload(hostPackage(version, behaviour), 'PUT');
      const answer = await agent.start('worker', {});
      assert.deepEqual(
        [answer.status, (answer.body as unknown as ErrorBody).code],
        [422, 'HF_START_FAILED'],
        JSON.stringify(answer.body),
      );
    }
    assert.deepEqual(await agent.processes(), []);
  });

  it('tells what happens, and tells it again to a client that comes back', async () => {
    const seen = await readEvents(agent.agent.uri, undefined, async collected => {
      await agent.start('worker', { settingsId: 'a/0', restart: quick, settings: { crashWhen: file('go') } });
      await writeFile(file('go'), '');
      await workplace.until('the events', () => collected.some(item => item.type === 'process-crash-loop'));
    });
    const types = seen.map(item => item.type).filter(type => type !== 'process-status');
    assert.deepEqual(types.slice(0, 2), ['process-started', 'process-crashed']);
    assert.ok(types.includes('process-restarted'));
    const ids = seen.map(item => item.id);
    assert.deepEqual(
      ids,
      [...ids].sort((a, b) => a - b),
    );
    const replayed = await readEvents(agent.agent.uri, ids[0], collected =>
      workplace.until('the replay', () => collected.some(item => item.id === ids.at(-1))).then(() => {}),
    );
    assert.deepEqual(
      replayed.map(item => item.id),
      ids.slice(1),
    );
  });

  const file = (name: string) => join(workplace.stateRoot, name);
});

type Seen = ApiEvent & { id: number };

/** Reads server-sent events while `during` runs. */
async function readEvents(
  uri: string,
  lastId: number | undefined,
  during: (collected: Seen[]) => Promise<void>,
): Promise<Seen[]> {
  const abort = new AbortController();
  const { secret } = await import('./agent-harness.ts');
  const response = await fetch(`${uri}/api/node/events`, {
    headers: {
      authorization: `Bearer ${secret}`,
      ...(lastId === undefined ? {} : { 'last-event-id': String(lastId) }),
    },
    signal: abort.signal,
  });
  assert.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8');
  const collected: Seen[] = [];
  const reading = (async () => {
    let text = '';
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const blocks = text.split('\n\n');
      text = blocks.pop()!;
      for (const block of blocks) {
        const id = /^id: (\d+)$/m.exec(block)?.[1];
        const data = /^data: (.*)$/m.exec(block)?.[1];
        if (id && data) collected.push({ ...(JSON.parse(data) as ApiEvent), id: Number(id) });
      }
    }
  })().catch(() => {}); // it ends by the abort below
  await during(collected);
  abort.abort();
  await reading;
  return collected;
}
