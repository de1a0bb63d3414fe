/**
 * One schedule of the simulation: a cluster in one process, under one synchronous queue of events, wholly decided by its seed.
 *
 * Production code: the guard's `step` (session, keys, handing off, resuming, passivating), the directory's decisions, placement, the counter
 * of fences, the steady clock, the router's cache and its retry rule, `decideLease` and the machine of `hold`. Modelled: the shells
 * around them (their promises and timers), the network, what survives in the store, components and resources, clients, agents, operators.
 *
 * Not modelled, and proven elsewhere: HTTP and its streams, Lua scripts and SQL, group commit, the watchdog thread, the node manager's
 * decisions, bounds of waiting rooms, balanced pools, alarms, how each store keeps leases when it forgets.
 *
 * The timing model, under which one host at a time answers for a key (`plan.ts`): the store's clock runs at most 1/0.95 times as fast
 * as a host's (both may be wrong by a tenth against true time), it is never set forward, and from the last check of ownership to its
 * effect pass at most 10 ms. Three schedules of four keep to it, and most have a host exactly at the bound. The others do not, and in
 * them only what fences protect must hold: commits, acknowledged writes, linearizable histories of fenced resources; and that service
 * returns. A suspension of a machine shorter than 50 ms counts as delay, and is not drawn.
 *
 * What else is assumed: of two openings of a session by one process the earlier does not reach the store last (`questions.ts`).
 *
 * A schedule has three parts: `plan.busyMs` of requests, faults and planned changes; a calm in which the cluster must
 * recover; probes of every key through every router, which must be answered.
 */
import type { ResourceKey } from '#core';
import { Dice } from './dice.ts';
import { Host } from './host.ts';
import { Nemesis } from './nemesis.ts';
import { Network } from './network.ts';
import { makePlan, type Plan } from './plan.ts';
import { Register } from './register.ts';
import { ClientRequest, type Answer, type RequestKind } from './request.ts';
import { Router } from './router.ts';
import { Scheduler } from './scheduler.ts';
import { emptyStatistics, type Count, type Statistics } from './statistics.ts';
import { Store } from './store.ts';
import { Violation } from './violation.ts';
import type { World } from './world.ts';

export interface Outcome {
  readonly plan: Plan;
  readonly statistics: Statistics;
  readonly violation: Violation | null;
}

/** Runs the schedule of one seed. `trace` gets a line for each thing that happens. */
export function simulate(seed: number, trace: ((line: string) => void) | null = null): Outcome {
  const schedule = new Schedule(seed, trace);
  const violation = schedule.run();
  return { plan: schedule.plan, statistics: schedule.statistics, violation };
}

class Schedule implements World {
  readonly plan: Plan;
  readonly dice: Dice;
  readonly scheduler = new Scheduler();
  readonly network: Network;
  readonly store: Store;
  readonly registers: readonly Register[];
  readonly hosts = new Set<Host>();
  readonly statistics = emptyStatistics();
  readonly trace: ((text: string) => void) | null;
  faulty = true;
  adopting = false;
  readonly #everyHost = new Map<string, Host>();
  readonly #routers: readonly Router[];
  #requestIds = 0;
  #unanswered = 0;

  constructor(seed: number, trace: ((line: string) => void) | null) {
    this.dice = new Dice(seed);
    this.plan = makePlan(seed, this.dice);
    this.trace = trace && (text => trace(`${this.scheduler.nowMs.toFixed(1).padStart(9)} ${text}`));
    const { plan } = this;
    this.count('schedules');
    this.count(plan.regime === 'timed' ? 'timedSchedules' : 'untimedSchedules');
    if (plan.faults.size === 0) this.count('faultlessSchedules');
    this.network = new Network(this);
    this.registers = Array.from(
      { length: plan.keys },
      (_, index) =>
        new Register(`/k${index}` as ResourceKey, plan.allFenced || index % 2 === 0, plan.regime === 'timed'),
    );
    this.store = new Store(this);
    this.#routers = Array.from(
      { length: plan.routers },
      (_, index) => new Router(this, `r${index + 1}`, address => this.#everyHost.get(address)),
    );
  }

  readonly count = (name: Count, by = 1): void => {
    this.statistics[name] += by;
  };

  run(): Violation | null {
    try {
      this.#play();
      return null;
    } catch (error) {
      if (error instanceof Violation) return error;
      return new Violation(
        'no-crash',
        error instanceof Error ? (error.stack ?? error.message) : String(error),
      );
    }
  }

  #play(): void {
    const { plan, dice, scheduler } = this;
    this.trace?.(describePlan(plan));
    for (let count = 0; count < plan.hosts; count++) this.#startHost();
    const nemesis = new Nemesis({
      world: this,
      routerAddresses: this.#routers.map(({ address }) => address),
      startHost: () => this.#startHost(),
    });
    nemesis.begin();
    for (let count = 0; count < plan.requests; count++) {
      scheduler.after(dice.fraction() * plan.busyMs, () =>
        this.#request(dice.pick(this.#routers), dice.pick(this.registers)),
      );
    }
    scheduler.runUntil(plan.busyMs);
    this.faulty = false;
    this.trace?.('*** calm');
    nemesis.end();
    this.#startHost();
    // What was given out before is over by then, and what was forgotten is collected; clocks may be slow by a tenth.
    scheduler.runUntil(plan.busyMs + plan.ttlMs * 4 + 500);
    // Requests that run, or wait for such, are none of the cluster's doing.
    for (let turn = 0; turn < 40 && this.#busy; turn++) scheduler.runUntil(scheduler.nowMs + plan.ttlMs);
    this.#probe();
    for (let turn = 0; turn < 100 && this.#unanswered > 0; turn++)
      scheduler.runUntil(scheduler.nowMs + 200 + plan.ttlMs / 4);
    if (this.#unanswered > 0)
      throw new Violation('I7-service-returns', `${this.#unanswered} requests got no answer`);
  }

  get #busy(): boolean {
    return this.#unanswered > 0 || [...this.hosts].some(host => host.busy);
  }

  #startHost(): void {
    const name = `h${this.#everyHost.size + 1}`;
    const host = new Host(this, name);
    this.#everyHost.set(name, host);
    this.hosts.add(host);
  }

  #request(router: Router, register: Register): void {
    const kind = this.dice.pick<RequestKind>(['read', 'put', 'put', 'post', 'post']);
    const faultless = this.plan.faults.size === 0;
    const attemptsMax = faultless || this.dice.chance(0.9) ? Infinity : 1 + this.dice.below(3);
    this.#send(router, register, { kind, attemptsMax }, (answer, id) => {
      if (faultless && answer.type !== 'ok') {
        throw new Violation(
          'I6-planned-changes-lose-nothing',
          `request ${id} of ${register.key}: ${answer.type}`,
        );
      }
    });
  }

  #probe(): void {
    for (const router of this.#routers) {
      for (const register of this.registers) {
        const sentAtMs = this.scheduler.nowMs;
        const within = this.plan.ttlMs + 1_500;
        this.#send(router, register, { kind: 'put', attemptsMax: Infinity }, (answer, id) => {
          const tookMs = this.scheduler.nowMs - sentAtMs;
          if (answer.type === 'ok' && tookMs <= within) return this.count('probesAnswered');
          const hosts = Array.from(this.hosts, host => host.describe()).join('; ');
          throw new Violation(
            'I7-service-returns',
            `request ${id} of ${register.key}: ${answer.type} after ${Math.round(tookMs)} ms; ${hosts}`,
          );
        });
      }
    }
  }

  #send(
    router: Router,
    register: Register,
    facts: { kind: RequestKind; attemptsMax: number },
    onAnswer: (answer: Answer, id: number) => void,
  ): void {
    const id = ++this.#requestIds;
    this.count('requests');
    this.#unanswered++;
    const request = new ClientRequest({
      id,
      register,
      ...facts,
      onAnswer: answer => {
        this.#unanswered--;
        onAnswer(answer, id);
      },
    });
    this.trace?.(`request ${id}: ${request.kind} ${request.key} by ${router.name}`);
    router.send(request);
  }
}

function describePlan(plan: Plan): string {
  const { faults, ...rest } = plan;
  return `${JSON.stringify(rest)} faults: ${[...faults].join(', ') || 'none'}`;
}
