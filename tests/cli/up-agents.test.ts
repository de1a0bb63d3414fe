import assert from 'node:assert/strict';
import { createFakeSystem } from '#core';
import type { AgentOptions, AgentProcess } from '../../cli/up/agent-process.ts';
import { restartDelayMs, startAgents } from '../../cli/up/agents.ts';

interface FakeAgent extends AgentProcess {
  end(): void;
  stopped: boolean;
}

function fakeAgents() {
  const made: FakeAgent[] = [];
  return {
    made,
    start(options: AgentOptions): AgentProcess {
      const { promise: exited, resolve } = Promise.withResolvers<{
        code: number | null;
        signal: string | null;
      }>();
      const agent: FakeAgent = {
        name: options.name,
        ready: Promise.resolve({ uri: '' }),
        exited,
        stopped: false,
        stop() {
          agent.stopped = true;
          resolve({ code: 0, signal: null });
        },
        kill: () => resolve({ code: null, signal: 'SIGKILL' }),
        end: () => resolve({ code: 1, signal: null }),
      };
      made.push(agent);
      return agent;
    },
  };
}

const options: AgentOptions[] = ['node-1', 'node-2'].map(name => ({
  name,
  listen: '127.0.0.1:1',
  dataDirectory: '/nowhere',
  stateRoot: '/nowhere',
  tokenFile: '/nowhere/token',
}));

describe('the agents of up', () => {
  it('starts one that ended again, later and later', async () => {
    const system = createFakeSystem();
    const { made, start } = fakeAgents();
    const said: string[] = [];
    const agents = startAgents(options, { system, start, say: text => said.push(text) });
    await agents.ready;
    assert.equal(made.length, 2);
    for (const [attempt, delayMs] of [200, 400, 800].entries()) {
      made.at(attempt === 0 ? 0 : -1)!.end();
      await system.advance(delayMs - 1);
      assert.equal(made.length, 2 + attempt);
      await system.advance(1);
      assert.equal(made.length, 3 + attempt);
      assert.equal(made.at(-1)!.name, 'node-1');
    }
    assert.match(said[0]!, /node-1 ended \(exit code 1\)/);
    await agents.stop();
    assert(made[1]!.stopped && made.at(-1)!.stopped);
  });

  it('forgets earlier ends of an agent that then ran well', async () => {
    const system = createFakeSystem();
    const { made, start } = fakeAgents();
    const agents = startAgents(options.slice(0, 1), { system, start, say() {} });
    made[0]!.end();
    await system.advance(200);
    await system.advance(60_000);
    made[1]!.end();
    await system.advance(200);
    assert.equal(made.length, 3);
    await agents.stop();
  });

  it('starts none again once it is asked to stop', async () => {
    const system = createFakeSystem();
    const { made, start } = fakeAgents();
    const agents = startAgents(options, { system, start, say() {} });
    made[0]!.end();
    await system.advance(1);
    await agents.stop();
    await system.advance(60_000);
    assert.equal(made.length, 2);
  });

  it('has a longest wait', () => {
    assert.equal(restartDelayMs(100), 5_000);
  });
});
