/**
 * Warm spares: unconfigured hosts of the plain launch profile, waiting, so that a start need not wait for a process.
 * They are no entries: nobody asked for them, they are not listed, and they end with the agent's hosts. When the host
 * package gets another current version, spares of the old one are replaced. None is made while a start is under way and
 * for a moment after, because starts come in groups and the processor is theirs. A host package that dies at once is
 * tried again ever more slowly.
 */
import type { System } from '#core';
import type { StoredPackage } from '#package-manager';
import type { FastifyBaseLogger } from 'fastify';
import type { HostProcess } from './host-process.ts';
import { stopHost } from './stop-host.ts';

export interface SparesDeps {
  system: System;
  log: FastifyBaseLogger;
  /** How many to keep. */
  wanted: number;
  /** The package that starts use now, or null when there is none. */
  hostPackage(): StoredPackage | null;
  /** Fingerprint of the coordination store that hosts are launched with now; spares of another one are replaced. */
  store(): string;
  spawn(hostPackage: StoredPackage): Promise<HostProcess>;
  /** A spare's folder is of no use to anybody once it ended unused. */
  forget(processId: string): void;
}

export interface Spares {
  /** A spare of this very package version, which is then no longer a spare; null if there is none. */
  take(hostPackage: StoredPackage): HostProcess | null;
  /** A host of an earlier agent that no entry needs; stays a spare if its hello says that it is unconfigured. */
  adopt(host: HostProcess): void;
  /** Ends what is out of date and fills up, at once or when it is quiet; returns at once. */
  refill(): void;
  /** A start is under way until the result is called, once. */
  startBegins(): () => void;
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

export function createSpares({ system, log, wanted, hostPackage, store, spawn, forget }: SparesDeps): Spares {
  const spares = new Set<HostProcess>();
  /** What these are is known only when they say hello. */
  const adopted = new WeakSet<HostProcess>();
  let spawning = 0;
  let startsUnderWay = 0;
  /** Cancels the wait after the last start; null when none is waited for. */
  let cancelQuiet: (() => void) | null = null;
  let failures = 0;
  let closed = false;
  let waiting = false;

  return {
    take(wantedPackage) {
      const fitting = usable().filter(spare => fits(spare, wantedPackage, store()));
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
    for (const spare of [...spares].slice(wanted)) discard(spare, 'there are spares enough');
    if (startsUnderWay > 0 || cancelQuiet) return; // the end of the quiet moment comes here again
    for (let missing = wanted - spares.size - spawning; missing > 0; missing--) void add(current);
  }

  async function add(current: StoredPackage): Promise<void> {
    spawning++;
    try {
      const host = await spawn(current);
      if (closed) return; // whoever closes stops all hosts, this one too
      keep(host);
    } catch (error) {
      log.warn({ err: error }, 'cannot start a spare host');
      retryLater();
    } finally {
      spawning--;
    }
    if (![...spares].every(spare => fits(spare, current, store()))) refill(); // something changed while it was being made
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
    spare.record.memoryMb === null &&
    spare.record.store === store
  );
}
