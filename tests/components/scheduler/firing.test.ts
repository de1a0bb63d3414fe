import assert from 'node:assert/strict';
import { createSystem, type LeaseService, type Message, type Notes, type System } from '#core';
import { createService } from '../../../components/scheduler/service.ts';
import {
  contentOf,
  leasesInMemory,
  makeTestContext,
  notesInMemory,
  started,
} from '../../support/component-context.ts';
import { until } from '../../support/wait.ts';

const real = createSystem();

/** The wall clock stands still until a test moves it; whoever sleeps looks at it again soon. */
function movableSystem(start: string): System & { at(time: string): void } {
  let wallMs = Date.parse(start);
  return {
    ...real,
    clock: { ...real.clock, wallMs: () => wallMs },
    timers: { ...real.timers, sleep: (ms, signal) => real.timers.sleep(Math.min(ms, 10), signal) },
    at: time => void (wallMs = Date.parse(time)),
  };
}

describe('scheduler: firing', () => {
  let notes: Notes;
  const running: { stop(): Promise<void> }[] = [];
  const day = '2026-11-28T';

  beforeEach(() => void (notes = notesInMemory()));
  afterEach(async () => {
    await Promise.all(running.splice(0).map(one => one.stop()));
  });

  async function scheduler(
    system: System,
    schedule: Record<string, unknown>,
    options: {
      leases?: LeaseService;
      processId?: string;
      publish?: (message: Message) => Promise<void>;
      settings?: Record<string, unknown>;
    } = {},
  ) {
    const { settings, ...others } = options;
    const context = await makeTestContext({
      component: 'scheduler',
      dataDirectory: '/nowhere',
      notes,
      settings: { schedules: [{ id: 'tick', ...schedule }], leaseTtlMs: 2_000, ...settings },
      ...others,
    });
    const component = createService(context, system);
    const run = await started(component);
    running.push(run);
    const ask = async (path: string) =>
      (await (await component.fetch!(new Request(`http://localhost${path}`))).json()) as {
        role: string;
        nextRuns: string[];
        history: { scheduledAt: string; until?: string; outcome: string }[];
      };
    return {
      context,
      ask,
      stop: run.stop,
      leads: () => until('the lease', async () => (await ask('/')).role === 'leader'),
      fires: async (...times: string[]) => {
        await until(`${times.length} firings`, async () => context.published.length >= times.length);
        assert.deepEqual(
          context.published.map(message => message.properties.scheduledAt),
          times.map(time => `${day}${time}.000Z`),
        );
      },
    };
  }

  it('publishes at its times, with the tick as id, and tells what was and what comes', async () => {
    const system = movableSystem(`${day}12:00:00Z`);
    const { context, leads, fires, ask } = await scheduler(system, {
      cron: '*/10 * * * * *',
      messageType: 'beat',
    });
    await leads();
    system.at(`${day}12:00:10Z`);
    await fires('12:00:10');
    system.at(`${day}12:00:25Z`);
    await fires('12:00:10', '12:00:20');
    const [first] = context.published;
    assert.equal(first!.messageId, `scheduler-tick-${day}12:00:10.000Z`);
    assert.equal(first!.messageType, 'beat');
    assert.equal(first!.properties.fence, '1');
    assert.deepEqual(contentOf(first!), { schedule: 'tick', scheduledAt: `${day}12:00:10.000Z` });
    await until('the second line', async () => (await ask('/any/tick')).history[0]?.outcome === 'published');
    const { nextRuns, history } = await ask('/any/tick?next=2');
    assert.deepEqual(nextRuns, [`${day}12:00:30.000Z`, `${day}12:00:40.000Z`]);
    assert.deepEqual(
      history.map(entry => entry.scheduledAt),
      [`${day}12:00:20.000Z`, `${day}12:00:10.000Z`],
    );
  });

  it('a takeover repeats no tick and loses none; a clock that is set back repeats none either', async () => {
    const system = movableSystem(`${day}12:00:00Z`);
    const leases = leasesInMemory();
    const first = await scheduler(system, { cron: '* * * * * *' }, { leases, processId: 'host-1' });
    await first.leads();
    system.at(`${day}12:00:01Z`);
    await first.fires('12:00:01');
    const second = await scheduler(system, { cron: '* * * * * *' }, { leases, processId: 'host-2' });
    assert.equal((await second.ask('/')).role, 'standby');
    await first.stop();
    system.at(`${day}12:00:04Z`);
    await second.fires('12:00:02', '12:00:03', '12:00:04');
    assert.equal(second.context.published[0]!.properties.fence, '2');
    system.at(`${day}12:00:02Z`);
    system.at(`${day}12:00:05Z`);
    await second.fires('12:00:02', '12:00:03', '12:00:04', '12:00:05');
  });

  it('a leader that was replaced without noticing writes nothing any more, and no tick is decided twice', async () => {
    const system = movableSystem(`${day}12:00:00Z`);
    const schedule = { cron: '* * * * * *' };
    // Each believes that the lease is its own.
    const first = await scheduler(system, schedule, { processId: 'host-1' });
    await first.leads();
    const leases = leasesInMemory();
    // Its fences are higher than any that the first one will get.
    for (let turn = 1; turn <= 50; turn++) {
      const { fence } = await leases.tryAcquire('another', 'somebody', 1_000);
      await leases.release('another', 'somebody', fence!);
    }
    const second = await scheduler(system, schedule, { processId: 'host-2', leases });
    await second.leads();
    system.at(`${day}12:00:03Z`);
    await second.fires('12:00:01', '12:00:02', '12:00:03');
    await until('the report', async () => /another leader/.test(first.context.health.message ?? ''));
    assert.deepEqual(first.context.published, []);
  });

  for (const [misfire, missed] of [
    ['skip', []],
    ['once', ['12:30:00']],
    ['all', ['12:10:00', '12:20:00', '12:30:00']],
  ] as const) {
    it(`ticks of which nobody was there: ${misfire}`, async () => {
      const system = movableSystem(`${day}12:00:00Z`);
      const schedule = { cron: '0 */10 * * * *', misfire };
      const leases = leasesInMemory();
      const before = await scheduler(system, schedule, { leases });
      await before.leads();
      await before.stop();
      system.at(`${day}12:35:00Z`);
      const after = await scheduler(system, schedule, { leases });
      await after.leads();
      system.at(`${day}12:40:00Z`);
      await after.fires(...missed, '12:40:00');
      const { history } = await after.ask('/any/tick');
      const passedOver = history.filter(entry => entry.outcome === 'missed');
      assert.deepEqual(
        passedOver.map(entry => [entry.scheduledAt, entry.until]),
        misfire === 'all'
          ? []
          : [[`${day}12:10:00.000Z`, `${day}12:${misfire === 'skip' ? 30 : 20}:00.000Z`]],
      );
    });
  }

  for (const isReentrant of [false, true]) {
    it(`while the broker is away, ${isReentrant ? 'a reentrant schedule goes on' : 'others pass ticks over'}`, async () => {
      const system = movableSystem(`${day}12:00:00Z`);
      let isAway = true;
      const publish = async () => {
        if (isAway) throw new Error('no broker');
      };
      const { context, leads, fires, ask } = await scheduler(
        system,
        { cron: '* * * * * *', isReentrant },
        { publish },
      );
      await leads();
      for (const second of [1, 2, 3]) {
        system.at(`${day}12:00:0${second}Z`);
        await until('the decision', async () => {
          const [newest] = (await ask('/any/tick')).history;
          return (newest?.until ?? newest?.scheduledAt) === `${day}12:00:0${second}.000Z`;
        });
      }
      await until('the report', async () => /no broker/.test(context.health.message ?? ''));
      isAway = false;
      await fires('12:00:01', ...(isReentrant ? ['12:00:02', '12:00:03'] : []));
      await until('good health', async () => context.health.ready);
      const passedOver = (await ask('/any/tick')).history.filter(entry => entry.outcome === 'overlap');
      assert.equal(passedOver.length, isReentrant ? 0 : 1);
    });
  }

  it('a schedule that can never fire is refused, with its id and the reason', async () => {
    const refused = async (schedule: Record<string, unknown>, message: RegExp) =>
      assert.rejects(scheduler(real, schedule), { code: 'HF_SETTINGS_INVALID', message });
    await refused({ cron: '61 * * * *' }, /schedules\[0\] \(tick\): "61 \* \* \* \*" is no cron expression/);
    await refused({ cron: '0 0 30 2 *' }, /never comes/);
    await refused({ cron: '* * * * *', timeZone: 'Europe/Atlantis' }, /no time zone/);
  });
});
