import { strict as assert } from 'node:assert';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { signalProcess, type ApiEvent, type HealthSettings, type ProcessInfo } from '#core';
import { freePort } from '../../support/wait.ts';
import {
  componentPackage,
  createWorkplace,
  hostPackage,
  identityOf,
  untilGone,
  type AgentClient,
  type Workplace,
} from '../agent-harness.ts';

const restart = { maxAttempts: 5, windowMs: 60_000, backoffMs: 1, backoffMaxMs: 5 };
const http = {
  path: '/health',
  port: null,
  intervalMs: 100,
  timeoutMs: 2_000,
  failuresMax: 2,
  restart: false,
};

describe('node API: health', () => {
  let workplace: Workplace;
  let agent: AgentClient;
  let flag: string;

  beforeEach(async () => {
    workplace = await createWorkplace();
    flag = join(workplace.stateRoot, 'flag');
    agent = await workplace.agent();
    await agent.upload(hostPackage());
    await agent.upload(componentPackage());
  });
  afterEach(() => workplace.dispose());

  const start = async (health: HealthSettings, settings: object = {}): Promise<ProcessInfo> => {
    const answer = await agent.start('worker', { settingsId: 'a/0', restart, health, settings });
    assert.equal(answer.status, 201, JSON.stringify(answer.body));
    return answer.body;
  };
  const until = (what: string, check: (info: ProcessInfo) => boolean) =>
    workplace.until(what, async () => (await agent.processes()).find(check));

  it('replaces a process whose event loop does not turn, and says why', async () => {
    const first = await start({ livenessMs: 2_000, http: null }, { blockWhen: flag });
    await writeFile(flag, '');
    await untilGone(identityOf(first.pid));
    await rm(flag);
    const again = await until('the restart', info => info.state === 'Running' && info.restarts > 0);
    assert.notEqual(again.processId, first.processId);
    assert.match(again.lastExit?.reason ?? '', /unresponsive: its event loop answered nothing for 2000 ms/);
    assert.match(await eventsOf(agent), /event: process-unresponsive/);
  });

  it('replaces a frozen process, and leaves one alone whose loop is not watched', async () => {
    const watched = await start({ livenessMs: 1_000, http: null });
    const other = await agent.start('worker', { settingsId: 'b/0', health: { livenessMs: 0, http: null } });
    signalProcess(identityOf(other.body.pid), 'SIGSTOP');
    signalProcess(identityOf(watched.pid), 'SIGSTOP');
    await untilGone(identityOf(watched.pid));
    const left = (await agent.processes()).find(info => info.settingsId === 'b/0');
    assert.deepEqual([left?.processId, left?.state], [other.body.processId, 'Running']);
    signalProcess(identityOf(other.body.pid), 'SIGCONT');
  });

  it('blames no host for a stall of its own', async () => {
    const info = await start({ livenessMs: 1_500, http: null });
    const endMs = performance.now() + 3_000;
    while (performance.now() < endMs); // the agent runs in this process
    // What it makes of the stall shows when it has found a host that really is frozen.
    const frozen = await agent.start('worker', {
      settingsId: 'b/0',
      health: { livenessMs: 1_500, http: null },
    });
    signalProcess(identityOf(frozen.body.pid), 'SIGSTOP');
    await untilGone(identityOf(frozen.body.pid));
    const found = (await agent.processes()).find(one => one.settingsId === 'a/0');
    assert.deepEqual([found?.processId, found?.restarts], [info.processId, 0]);
  });

  it('watches a host that it has adopted', async () => {
    const first = await start({ livenessMs: 1_000, http: null });
    await agent.agent.close({ stopHosts: false });
    agent = await workplace.agent();
    await until('the adoption', info => info.host !== null);
    signalProcess(identityOf(first.pid), 'SIGSTOP');
    await untilGone(identityOf(first.pid));
    const again = await until('the restart', info => info.state === 'Running' && info.restarts > 0);
    assert.match(again.lastExit?.reason ?? '', /unresponsive/);
  });

  it('checks a component over HTTP: ready only when it answers well, not ready after failures in a row', async () => {
    const port = await freePort();
    await writeFile(flag, '');
    const first = await start({ livenessMs: 0, http }, { port, sickWhile: flag });
    assert.equal(first.host?.health.ready, false);
    const bad = await until('the verdict', info => /503/.test(info.host?.health.message ?? ''));
    assert.equal(bad.host?.health.ready, false);
    await rm(flag);
    await until('good health', info => info.host?.health.ready === true);
    await writeFile(flag, '');
    await until('bad health', info => info.host?.health.ready === false);
    await rm(flag);
    const good = await until('good health again', info => info.host?.health.ready === true);
    assert.deepEqual([good.processId, good.restarts], [first.processId, 0]);
  });

  it('restarts a component that was well and does not answer any more, where the settings say so', async () => {
    const port = await freePort();
    const check = { ...http, timeoutMs: 100, restart: true };
    const first = await start({ livenessMs: 0, http: check }, { port, sickWhile: flag, silent: true });
    await until('good health', info => info.host?.health.ready === true);
    await writeFile(flag, '');
    await untilGone(identityOf(first.pid));
    await rm(flag);
    const again = await until('the restart', info => info.restarts > 0 && info.host?.health.ready === true);
    assert.match(again.lastExit?.reason ?? '', /unhealthy: .*\/health did not answer within 100 ms/);
  });

  it('refuses a check without a port to ask, with the path of what is missing', async () => {
    const answer = await agent.call<{ code: string; message: string }>(
      'PUT',
      '/api/node/processes/worker/start',
      { health: { livenessMs: 0, http } },
    );
    assert.deepEqual([answer.status, answer.body.code], [422, 'HF_SETTINGS_INVALID']);
    assert.match(answer.body.message, /\$\.settings\.port expected the port that the component listens on/);
  });

  it('does not restart the run of a job that crashed, and keeps what its host said last', async () => {
    const job = {
      number: 1,
      runId: 'r1',
      scheduledAt: '2026-01-01T00:00:00.000Z',
      attempt: 1,
      timeoutMs: 60_000,
    };
    const answer = await agent.start('worker', { settingsId: 'a/r1', restart, job });
    assert.equal(answer.body.job?.state, 'running');
    signalProcess(identityOf(answer.body.pid), 'SIGKILL');
    const ended = await until('its end', info => info.state === 'CrashLoop');
    assert.deepEqual([ended.restarts, ended.job?.runId, ended.lastExit?.signal], [0, 'r1', 'SIGKILL']);
  });
});

/** What the node tells of the past, up to now. */
async function eventsOf(agent: AgentClient): Promise<string> {
  const ending = new AbortController();
  const response = await fetch(`${agent.agent.uri}/api/node/events`, {
    headers: { authorization: `Bearer a-secret-of-at-least-sixteen-characters`, 'last-event-id': '0' },
    signal: ending.signal,
  });
  let text = '';
  for await (const part of response.body!.pipeThrough(new TextDecoderStream())) {
    text += part;
    if (text.includes('process-unresponsive')) break;
  }
  ending.abort();
  return text satisfies ApiEvent['type'];
}
