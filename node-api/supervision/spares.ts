/**
 * Warm spares: unconfigured hosts, waiting, so that a start need not wait for a process (how many of which launch profile:
 * `spare-plan.ts`). They are no entries: nobody asked for them, they are not listed, and they end with the agent's hosts. When
 * the host package gets another current version, spares of the old one are replaced. They are made one after another, and none
 * while a start is under way and for a moment after, because starts come in groups and the processor is theirs. A node that is
 * short of memory gives them up. A host package that dies at once is tried again ever more slowly.
 */
import type { System } from '#core';
import type { StoredPackage } from '#package-manager';
import type { FastifyBaseLogger } from 'fastify';
import type { HostProcess } from './host-process.ts';
import { planSpares, type LaunchProfile } from './spare-plan.ts';
import { stopHost, within } from './stop-host.ts';

export interface SparesDeps {
  system: System;
  log: FastifyBaseLogger;
  /** How many to keep of each launch profile. */
  perProfile: number;
  /** What all of them may take together. */
  memoryBytes: number;
  /** Launch profiles of what runs here, one for each process. */
  inUse(): LaunchProfile[];
  /** What a process takes of the machine's memory, bytes; null when that is not known. */
  memoryOf(pid: number): number | null;
  /** The package that starts use now, or null when there is none. */
  hostPackage(): StoredPackage | null;
  /** Fingerprint of the coordination store that hosts are launched with now; spares of another one are replaced. */
  store(): string;
  spawn(hostPackage: StoredPackage, profile: LaunchProfile): Promise<HostProcess>;
  /** A spare's folder is of no use to anybody once it ended unused. */
  forget(processId: string): void;
}

export interface Spares {
  /** A spare of this very package version and profile, which is then no longer a spare; null if there is none. */
  take(hostPackage: StoredPackage, profile: LaunchProfile): HostProcess | null;
  /** A host of an earlier agent that no entry needs; stays a spare if its hello says that it is unconfigured. */
  adopt(host: HostProcess): void;
  /** Ends what is out of date and fills up, at once or when it is quiet; returns at once. */
  refill(): void;
  /** A start is under way until the result is called, once. */
  startBegins(): () => void;
  /** Whether the node is short of memory, as often as that is looked at. */
  noteMemory(short: boolean): void;
  /** How many there are to take. */
  ready(): number;
  /** No more are made from now on. */
  close(): void;
}

const quietMs = 1_000;
const helloMs = 20_000;
const retryMaxMs = 30_000;
/** A spare that lived this long shows that the package works. */
const steadyMs = 10_000;
/** A node that gave its spares up has its memory back because of that: it must have been well for so long. */
const calmMs = 60_000;
/** Until one has been measured. */
const spareBytesAssumed = 40 * 1024 * 1024;
/** Of two spares, the second is launched when the first is there, or does not come. */
const turnMs = 2_000;

export function createSpares(deps: SparesDeps): Spares {
  const { system, log, perProfile, memoryBytes, hostPackage, store, spawn, forget } = deps;
  const spares = new Set<HostProcess>();
  /** What these are is known only when they say hello. */
  const adopted = new WeakSet<HostProcess>();
  let spawning = false;
  /** Launched a moment ago; they have not said hello. */
  const coming = new Set<HostProcess>();
  let startsUnderWay = 0;
  /** Cancels the wait after the last start; null when none is waited for. */
  let cancelQuiet: (() => void) | null = null;
  let failures = 0;
  let closed = false;
  let waiting = false;
  let calmAtMs = Number.NEGATIVE_INFINITY;
  /** The most that one has taken. It never falls, so that no spare comes and goes with the last few kilobytes. */
  let spareBytes = 0;

  return {
    take(wantedPackage, profile) {
      const fitting = usable().filter(
        spare => spare.record.memoryMb === profile && fits(spare, wantedPackage, store()),
      );
      const taken = fitting.find(spare => spare.status) ?? fitting[0];
      if (!taken) return null;
      spares.delete(taken);
      return taken;
    },
    adopt(host) {
      adopted.add(host);
      keep(host);
      void host.hello.then(status => {
        if (status.state !== 'AwaitingConfiguration')
          discard(host, 'nothing that shall run belongs to it', refill);
      });
    },
    refill,
    startBegins() {
      startsUnderWay++;
      cancelQuiet?.();
      cancelQuiet = null;
      return () => {
        if (--startsUnderWay > 0) return;
        cancelQuiet = system.timers.after(quietMs, () => {
          cancelQuiet = null;
          refill();
        });
      };
    },
    noteMemory(short) {
      if (short) calmAtMs = system.clock.monotonicMs() + calmMs;
      refill();
    },
    ready: () => usable().length,
    close() {
      closed = true;
    },
  };

  function usable(): HostProcess[] {
    return [...spares].filter(spare => !spare.ended && (spare.status || !adopted.has(spare)));
  }

  function refill(): void {
    if (closed || waiting) return;
    const current = hostPackage();
    for (const spare of spares) {
      if (!current || !fits(spare, current, store())) discard(spare, 'it is of no use any more');
    }
    if (!current) return;
    const plan = wanted();
    for (const spare of surplus(plan))
      discard(spare, 'there are spares enough, or there is no memory for it');
    const oneIsComing = spawning || [...coming].some(host => spares.has(host));
    if (oneIsComing || startsUnderWay > 0 || cancelQuiet) return; // the end of each comes here again
    const missing = [...plan].find(([profile, count]) => of(profile).length < count);
    if (missing) void add(current, missing[0]);
  }

  function wanted(): Map<LaunchProfile, number> {
    for (const { identity, status, ended } of spares) {
      if (identity && status && !ended) spareBytes = Math.max(spareBytes, deps.memoryOf(identity.pid) ?? 0);
    }
    return planSpares({
      perProfile,
      memoryBytes,
      spareBytes: spareBytes || spareBytesAssumed,
      inUse: deps.inUse(),
      short: system.clock.monotonicMs() < calmAtMs,
    });
  }

  function of(profile: LaunchProfile): HostProcess[] {
    return [...spares].filter(spare => spare.record.memoryMb === profile);
  }

  function surplus(plan: ReadonlyMap<LaunchProfile, number>): HostProcess[] {
    const profiles = new Set([...spares].map(spare => spare.record.memoryMb));
    return [...profiles].flatMap(profile => of(profile).slice(plan.get(profile) ?? 0));
  }

  async function add(current: StoredPackage, profile: LaunchProfile): Promise<void> {
    spawning = true;
    try {
      const host = await spawn(current, profile);
      if (closed) return; // whoever closes stops all hosts, this one too
      keep(host);
      coming.add(host);
      void within(system, turnMs, Promise.race([host.hello, host.gone])).then(() => {
        coming.delete(host);
        refill();
      });
    } catch (error) {
      log.warn({ err: error }, 'cannot start a spare host');
      retryLater();
    } finally {
      spawning = false;
    }
    refill(); // something may have changed while it was being made
  }

  function keep(host: HostProcess): void {
    spares.add(host);
    const cancel = system.timers.after(helloMs, () => {
      if (spares.has(host) && !host.status) discard(host, 'a spare did not say hello in time', retryLater);
    });
    const settled = system.timers.after(steadyMs, () => {
      if (!host.ended) failures = 0;
    });
    void host.gone.then(exit => {
      cancel();
      settled();
      if (!spares.delete(host)) return; // it was taken, or discarded
      forget(host.processId);
      if (closed) return;
      log.warn({ processId: host.processId, reason: exit.reason }, 'a spare host ended');
      retryLater();
    });
  }

  function discard(host: HostProcess, reason: string, then: () => void = () => {}): void {
    if (!spares.delete(host)) return; // it is no spare any more
    void stopHost(system, host, { graceMs: 1_000, reason }).then(() => {
      forget(host.processId);
      then();
    });
  }

  function retryLater(): void {
    if (waiting || closed) return;
    waiting = true;
    const afterMs = Math.min(100 * 2 ** failures++, retryMaxMs);
    system.timers.after(afterMs, () => {
      waiting = false;
      refill();
    });
  }
}

function fits(spare: HostProcess, wanted: StoredPackage, store: string): boolean {
  return (
    spare.record.packageName === wanted.packageName &&
    spare.record.packageVersion === wanted.packageVersion &&
    spare.record.store === store
  );
}
