/** What goes wrong, and when: draws faults of the plan's kinds, and undoes each of them after a while. */
import type { Claim, Fence, ResourceKey } from '#core';
import type { HandOffTarget } from '../../ownership/guard/key-model.ts';
import type { Host } from './host.ts';
import { operatorAddress, storeAddress, type Address } from './network.ts';
import type { FaultKind } from './plan.ts';
import { pool, type Asker } from './store.ts';
import type { World } from './world.ts';

export interface Stage {
  readonly world: World;
  readonly routerAddresses: readonly Address[];
  startHost(): void;
}

const operator: Asker = { address: operatorAddress, deliver: run => run() };

export class Nemesis {
  readonly #stage: Stage;
  readonly #world: World;

  constructor(stage: Stage) {
    this.#stage = stage;
    this.#world = stage.world;
  }

  begin(): void {
    const { plan, dice } = this.#world;
    const everyMs = plan.ttlMs * 0.35;
    if (plan.faults.has('storeGoesBack')) {
      this.#after(dice.fraction() * plan.busyMs * 0.7, () => this.#world.store.takeSnapshot());
    }
    for (const kind of plan.faults) {
      let atMs = dice.fraction() * everyMs * 3;
      while (atMs < plan.busyMs) {
        this.#after(atMs, () => this.#fault(kind));
        atMs += everyMs * dice.between(0.5, 6);
      }
    }
    if (plan.changeRate > 0) {
      let atMs = dice.fraction() * everyMs;
      while (atMs < plan.busyMs) {
        if (dice.chance(plan.changeRate)) this.#after(atMs, () => this.#change());
        atMs += everyMs * dice.between(0.2, 1);
      }
    }
  }

  /** Ends all faults that last. */
  end(): void {
    const { network, hosts, store, registers, plan } = this.#world;
    network.heal();
    for (const host of Array.from(hosts)) host.thaw();
    if (!store.running) store.start('kept');
    store.goOn();
    // A question to pause a key that came late, or was answered into the void, is the operator's to undo.
    this.#after(plan.ttlMs * 2, () => {
      for (const { key } of registers) this.#resume(key);
    });
  }

  // Faults -----------------------------------------------------------------------------------------------------------

  #fault(kind: FaultKind): void {
    const { dice, plan, store, count, faulty } = this.#world;
    if (!faulty) return;
    const { ttlMs } = plan;
    const host = this.#anyHost();
    switch (kind) {
      case 'partition':
        return this.#partition();
      case 'freeze':
      case 'suspension': {
        if (!host || host.frozen) return;
        count(kind === 'freeze' ? 'freezes' : 'suspensions');
        this.#say(`${host.name}: ${kind}`);
        host.freeze(kind === 'suspension');
        return this.#after(50 + ttlMs * dice.pick([0.1, 0.5, 1, 2, 3]) * dice.fraction(), () => host.thaw());
      }
      case 'crash':
        if (host) this.#crash(host);
        return;
      case 'storeCrash':
        return this.#restartStore('kept', 'storeCrashes');
      case 'storeForgets':
        return dice.chance(0.4) ? this.#restartStore('forgotten', 'storeForgets') : undefined;
      case 'storeGoesBack':
        return dice.chance(0.4) ? this.#restartStore('snapshot', 'storeGoesBack') : undefined;
      case 'storeStall':
        count('storeStalls');
        this.#say('the store stalls');
        store.stall();
        return this.#after(ttlMs * dice.fraction() * dice.pick([0.2, 1.5]), () => store.goOn());
      case 'wallClock':
        if (!host) return;
        count('wallClockJumps');
        return host.clock.setWall(dice.pick([-3_600_000, -60_000, 60_000, 3_600_000]));
      case 'storeClock':
        count('storeClockJumps');
        // Backwards it only makes sessions last longer. Forwards it ends them too early, which the timing model excludes.
        return store.clock.move(
          dice.fraction() * ttlMs * (plan.regime === 'timed' || dice.chance(0.5) ? -0.5 : 1.5),
        );
      case 'foreignFence': {
        const register = dice.pick(this.#world.registers);
        if (!register.fenced || register.fence === 0n) return;
        count('foreignFences');
        register.fence = (register.fence + BigInt(1 + dice.below(5))) as Fence;
        return;
      }
      case 'loss':
      case 'slowness':
      case 'duplication':
      case 'openFailure':
        return; // happen by themselves
    }
  }

  #partition(): void {
    const { dice, network, hosts, count, plan } = this.#world;
    const hostAddresses = Array.from(hosts, host => host.address);
    const { routerAddresses } = this.#stage;
    const [one, other] = dice.pick([
      [hostAddresses, [storeAddress]],
      [routerAddresses, [storeAddress]],
      [routerAddresses, hostAddresses],
    ] as const);
    if (one.length === 0 || other.length === 0) return;
    const pair = [dice.pick(one), dice.pick(other)] as const;
    const oneWay = dice.chance(0.4);
    const turned = dice.chance(0.5);
    const [from, to] = turned ? [pair[1], pair[0]] : pair;
    count(oneWay ? 'oneWayPartitions' : 'partitions');
    this.#say(`partition ${from} ${oneWay ? '→' : '↔'} ${to}`);
    network.block(from, to);
    if (!oneWay) network.block(to, from);
    this.#after(plan.ttlMs * dice.fraction() * 2, () => {
      network.unblock(from, to);
      network.unblock(to, from);
    });
  }

  #crash(host: Host): void {
    const { dice, plan, count } = this.#world;
    count('crashes');
    host.kill();
    // Its agent proves the death, unless the whole node has vanished.
    if (dice.chance(0.6)) {
      count('deathsProven');
      this.#after(dice.fraction() * plan.ttlMs * 0.2, () => this.#prove(host));
    } else count('deathsUnproven');
    this.#after(dice.fraction() * plan.ttlMs, () => this.#stage.startHost());
  }

  #prove(host: Host): void {
    this.#world.store.ask(
      operator,
      (directory, nowMs) => directory.endSessionsOf(host.processId, nowMs),
      reply => {
        if (reply.type !== 'answer') this.#after(this.#world.plan.ttlMs * 0.1, () => this.#prove(host));
      },
    );
  }

  #restartStore(
    memory: 'kept' | 'forgotten' | 'snapshot',
    name: 'storeCrashes' | 'storeForgets' | 'storeGoesBack',
  ): void {
    const { store, dice, plan, count } = this.#world;
    if (!store.running) return;
    count(name);
    this.#say(`the store crashes; memory: ${memory}`);
    store.crash();
    this.#after(dice.fraction() * plan.ttlMs * dice.pick([0.1, 1.2]), () => {
      if (store.running) return;
      this.#say('the store starts');
      store.start(memory);
    });
  }

  // Planned changes --------------------------------------------------------------------------------------------------

  #change(): void {
    const { dice, faulty } = this.#world;
    if (!faulty) return;
    const host = this.#anyHost();
    if (!host) return;
    switch (dice.pick(['drain', 'pause', 'move', 'move'] as const)) {
      case 'drain':
        this.#say(`${host.name} is drained`);
        // As a rolling update does: the new one first.
        this.#stage.startHost();
        return this.#after(this.#world.plan.ttlMs * 0.2, () => host.drain());
      case 'pause':
        return this.#pause();
      case 'move':
        return this.#move(dice.pick(this.#world.registers).key);
    }
  }

  #move(key: ResourceKey): void {
    const { store, dice, hosts } = this.#world;
    const to = dice.pick([null, 'nobody', dice.pick([...hosts]).sessionId] as const);
    store.ask(
      operator,
      (directory, nowMs) => directory.lookup(pool, key, nowMs),
      reply => {
        if (reply.type === 'answer' && reply.value) this.#askToLetGo(reply.value, to);
      },
    );
  }

  #askToLetGo(claim: Claim, to: HandOffTarget): void {
    const { hosts, network } = this.#world;
    const owner = [...hosts].find(({ processId }) => processId === claim.processId);
    const delayMs = owner && network.delayMs(operatorAddress, owner.address);
    if (owner && delayMs != null) this.#after(delayMs, () => owner.handOff(claim, to));
  }

  #pause(): void {
    const { dice, plan, store, registers } = this.#world;
    const { key } = dice.pick(registers);
    store.ask(
      operator,
      (directory, nowMs) => directory.pauseKey(pool, key, nowMs),
      reply => {
        if (reply.type === 'answer' && reply.value) this.#askToLetGo(reply.value, 'nobody');
        this.#after(plan.ttlMs * dice.fraction() * 0.5, () => this.#resume(key));
      },
    );
  }

  #resume(key: ResourceKey): void {
    const { store, plan } = this.#world;
    store.ask(
      operator,
      (directory, nowMs) => directory.resumeKey(pool, key, nowMs),
      reply => {
        if (reply.type !== 'answer') this.#after(plan.ttlMs * 0.1, () => this.#resume(key));
      },
    );
  }

  #anyHost(): Host | null {
    const { hosts, dice } = this.#world;
    return hosts.size === 0 ? null : dice.pick([...hosts]);
  }

  #after(delayMs: number, run: () => void): void {
    this.#world.scheduler.after(delayMs, run);
  }

  #say(text: string): void {
    this.#world.trace?.(`*** ${text}`);
  }
}
