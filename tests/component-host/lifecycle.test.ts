import assert from 'node:assert/strict';
import { Lifecycle, type Part, type PartRunner } from '#component-host';
import { createFakeSystem, HoldfastError } from '#core';

const silent = { debug() {}, info() {}, warn() {}, error() {} };

function setUp(run: (call: string, signal: AbortSignal) => Promise<void> = () => Promise.resolve()) {
  const system = createFakeSystem();
  const calls: string[] = [];
  const failures: string[] = [];
  const states: string[] = [];
  const call = (direction: 'up' | 'down') => (part: Part, signal: AbortSignal) => {
    calls.push(`${direction} ${part}`);
    return run(`${direction} ${part}`, signal);
  };
  const runner: PartRunner = { up: call('up'), down: call('down') };
  const lifecycle = new Lifecycle({
    system,
    log: silent,
    runner,
    onChange: state => states.push(state.type),
    onFailure: cause => failures.push((cause as Error).message),
    startMs: 1_000,
    stopMs: 1_000,
  });
  return { system, lifecycle, calls, failures, states };
}

const configured = async (given: ReturnType<typeof setUp>) => {
  await given.lifecycle.configure('both', () => Promise.resolve());
  return given;
};

function failing(at: string): (call: string) => Promise<void> {
  return call => (call === at ? Promise.reject(new Error(`no ${at}`)) : Promise.resolve());
}

function hanging(at: string, obeys: boolean): (call: string, signal: AbortSignal) => Promise<void> {
  return (call, signal) => {
    if (call !== at) return Promise.resolve();
    return new Promise((_resolve, reject) => {
      if (obeys) signal.addEventListener('abort', () => reject(signal.reason as Error));
    });
  };
}

describe('component-host lifecycle', () => {
  it('starts the publisher first and the session last, and stops in the reverse order', async () => {
    const { lifecycle, calls } = await configured(setUp());
    await lifecycle.start();
    assert.equal(lifecycle.state.type, 'Started');
    await lifecycle.stop();
    assert.equal(lifecycle.state.type, 'Stopped');
    assert.deepEqual(calls, [
      'up publisher',
      'up coordination',
      'up component',
      'up subscriptions',
      'up session',
      'down session',
      'down subscriptions',
      'down component',
      'down coordination',
      'down publisher',
    ]);
  });

  it('rolls back a failed start in reverse, keeps the cause, and can be started again', async () => {
    let broken = true;
    const given = await configured(
      setUp(call =>
        broken && call === 'up component' ? Promise.reject(new Error('no port')) : Promise.resolve(),
      ),
    );
    const { lifecycle, calls, failures } = given;
    await assert.rejects(lifecycle.start(), (error: HoldfastError) => {
      assert.equal(error.code, 'HF_START_FAILED');
      assert.equal(error.message, 'no port');
      return true;
    });
    assert.deepEqual(calls.slice(3), ['down component', 'down coordination', 'down publisher']);
    assert.ok(lifecycle.state.type === 'Errored' && (lifecycle.state.cause as Error).message === 'no port');
    assert.deepEqual(failures, ['no port']);
    broken = false;
    await lifecycle.start();
    assert.equal(lifecycle.state.type, 'Started');
  });

  it('leaves everything as it was when loading fails', async () => {
    const { lifecycle } = setUp();
    await assert.rejects(
      lifecycle.configure('both', () => Promise.reject(new HoldfastError('HF_SETTINGS_INVALID', 'no'))),
      { code: 'HF_SETTINGS_INVALID' },
    );
    assert.equal(lifecycle.state.type, 'AwaitingConfiguration');
    await assert.rejects(lifecycle.start(), { code: 'HF_WRONG_STATE' });
  });

  it('refuses a second start while started', async () => {
    const { lifecycle } = await configured(setUp());
    await lifecycle.start();
    await assert.rejects(lifecycle.start(), { code: 'HF_WRONG_STATE' });
    assert.equal(lifecycle.state.type, 'Started');
  });

  it('gives a start that hangs its signal, and fails it when the time is over', async () => {
    const { lifecycle, system, calls } = await configured(setUp(hanging('up component', true)));
    const started = assert.rejects(lifecycle.start(), /starting the component took longer than 1000 ms/);
    await system.advance(1_000);
    await started;
    assert.equal(lifecycle.state.type, 'Errored');
    assert.equal(calls.at(-1), 'down publisher');
  });

  it('goes on without a start that ignores its signal', async () => {
    const { lifecycle, system } = await configured(setUp(hanging('up component', false)));
    const started = assert.rejects(lifecycle.start(), { code: 'HF_START_FAILED' });
    await system.advance(2_000);
    await started;
    assert.equal(lifecycle.state.type, 'Errored');
  });

  it('lets a stop overtake a start', async () => {
    const { lifecycle, calls } = await configured(setUp(hanging('up component', true)));
    const started = assert.rejects(lifecycle.start(), { code: 'HF_WRONG_STATE' });
    while (!calls.includes('up component')) await Promise.resolve();
    await lifecycle.stop();
    await started;
    assert.equal(lifecycle.state.type, 'Stopped');
    assert.deepEqual(calls.slice(3), ['down component', 'down coordination', 'down publisher']);
  });

  it('stops the other parts when one fails to, and says so', async () => {
    const { lifecycle, calls } = await configured(setUp(failing('down component')));
    await lifecycle.start();
    await assert.rejects(lifecycle.stop(), { code: 'HF_COMPONENT_FAILED', message: 'no down component' });
    assert.equal(calls.at(-1), 'down publisher');
    assert.equal(lifecycle.state.type, 'Errored');
  });

  it('ends within its time when nothing stops by itself', async () => {
    const { lifecycle, system } = await configured(
      setUp(call => (call.startsWith('down') ? new Promise(() => {}) : Promise.resolve())),
    );
    await lifecycle.start();
    const ended = lifecycle.shutdown(2_000);
    await system.advance(2_000);
    await ended;
    assert.equal(lifecycle.state.type, 'Destroyed');
  });

  it('turns a stop under way into a shutdown', async () => {
    const { lifecycle, states } = await configured(setUp());
    await lifecycle.start();
    await Promise.all([lifecycle.stop(), lifecycle.shutdown(), lifecycle.shutdown()]);
    assert.equal(states.at(-1), 'Destroyed');
    assert.ok(!states.includes('Stopped'));
  });

  it('starts and stops the publisher alone', async () => {
    const { lifecycle, calls } = await configured(setUp());
    await lifecycle.start('publisher');
    assert.deepEqual(calls, ['up publisher']);
    assert.equal(lifecycle.state.type, 'Configured');
    await lifecycle.start();
    await lifecycle.stop('component');
    assert.equal(calls.at(-1), 'down coordination');
    await assert.rejects(lifecycle.stop('component'), { code: 'HF_WRONG_STATE' });
    await lifecycle.stop('publisher');
    assert.equal(calls.at(-1), 'down publisher');
  });

  it('ignores what comes of a load that a shutdown overtook', async () => {
    const { lifecycle } = setUp();
    const loading = Promise.withResolvers<void>();
    const configuring = assert.rejects(
      lifecycle.configure('both', () => loading.promise),
      { code: 'HF_WRONG_STATE' },
    );
    await lifecycle.shutdown();
    loading.resolve();
    await configuring;
    assert.equal(lifecycle.state.type, 'Destroyed');
  });
});
