/**
 * One host process as its agent holds it: spawned by this agent, or adopted from an earlier one. Its life:
 * expected → connected (hello) ⇄ disconnected → ended → gone. *Ended* is what the operating system says of the one
 * process; *gone* is proven for the whole tree, and only then `onGone` runs, which ends the session: within milliseconds
 * of the end, because requests wait for it.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Channel } from '#channel';
import {
  HoldfastError,
  isoTime,
  isRunning,
  signalProcess,
  type HostMethods,
  type HostStatus,
  type ProcessIdentity,
  type ProcessInfo,
  type System,
} from '#core';
import type { HostRecord } from '../store/records.ts';
import { buryTree, signalGroup } from './process-tree.ts';

export type HostExit = NonNullable<ProcessInfo['lastExit']>;

export interface HostProcessDeps {
  system: System;
  /** The tree is proven gone: ends the sessions. `gone` resolves after it. */
  onGone(host: HostProcess): Promise<void>;
  /** Its state or health changed, or it said hello for the first time. */
  onStatus(host: HostProcess, status: HostStatus): void;
}

const adoptedPollMs = 250;

export class HostProcess {
  readonly record: HostRecord;
  /** Resolves with the status of the first hello; stays pending when that never comes. */
  readonly hello: Promise<HostStatus>;
  /** Resolves when nothing of the process is left and its sessions are ended. Never rejects. */
  readonly gone: Promise<HostExit>;
  readonly #deps: HostProcessDeps;
  readonly #resolveHello: (status: HostStatus) => void;
  readonly #resolveGone: (exit: HostExit) => void;
  #status: HostStatus | null = null;
  #channel: Channel | null = null;
  #ended = false;
  /** Why we ended it; the first cause wins. */
  #reason: string | null = null;

  constructor(record: HostRecord, deps: HostProcessDeps) {
    this.record = record;
    this.#deps = deps;
    const hello = Promise.withResolvers<HostStatus>();
    const gone = Promise.withResolvers<HostExit>();
    [this.hello, this.#resolveHello] = [hello.promise, hello.resolve];
    [this.gone, this.#resolveGone] = [gone.promise, gone.resolve];
  }

  get processId(): string {
    return this.record.processId;
  }

  /** Null before it was spawned. */
  get identity(): ProcessIdentity | null {
    const { pid, startTime } = this.record;
    return pid === null || startTime === null ? null : { pid, startTime };
  }

  /** What it said last; null before its hello. */
  get status(): HostStatus | null {
    return this.#status;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Whether an end was asked for by us. */
  get endExpected(): boolean {
    return this.#reason !== null;
  }

  /** Whether this is the host's secret; takes the same time for every wrong one. */
  proves(hostSecret: string): boolean {
    const given = createHash('sha256').update(hostSecret).digest();
    return timingSafeEqual(given, Buffer.from(this.record.secretSha256, 'hex'));
  }

  /** The host has proven itself on this channel; a reconnect replaces the one before. */
  attach(channel: Channel, status: HostStatus): void {
    const before = this.#channel;
    this.#channel = channel;
    before?.close();
    void channel.closed.then(() => {
      if (this.#channel === channel) this.#channel = null;
    });
    this.#resolveHello(status);
    this.#take(status);
  }

  /** Takes a status only from the channel that counts. */
  report(channel: Channel, status: HostStatus): void {
    if (this.#channel === channel) this.#take(status);
  }

  /** @throws HoldfastError what the host answered; HF_COORDINATION_UNAVAILABLE when it cannot be asked */
  async request<Method extends keyof HostMethods>(
    method: Method,
    params: Parameters<HostMethods[Method]>[0] | null,
    timeoutMs: number,
  ): Promise<HostStatus> {
    if (!this.#channel)
      throw new HoldfastError('HF_COORDINATION_UNAVAILABLE', 'the host is not connected to its agent');
    const status = await this.#channel.request<HostStatus>(method, params, { timeoutMs });
    this.#take(status);
    return status;
  }

  /** Whether it answered at all, be it that it does not know the question; false when it is not connected or the time is over. */
  async answers(timeoutMs: number): Promise<boolean> {
    try {
      await this.request('ping', null, timeoutMs);
      return true;
    } catch (error) {
      return !(error instanceof HoldfastError) || error.code !== 'HF_COORDINATION_UNAVAILABLE';
    }
  }

  /** Whether it answers in time that nothing is open any more of a session that it lost. A frozen one does not. */
  async letsGo(timeoutMs: number): Promise<boolean> {
    try {
      await this.request('letGo', null, timeoutMs);
      return true;
    } catch {
      return false; // it is not connected, does not answer, or does not know how to
    }
  }

  /** The agent's own child: its end is an event. */
  watchChild(onExit: (listener: (code: number | null, signal: string | null) => void) => void): void {
    onExit((code, signal) => this.#end(code, signal));
  }

  /** Another agent's child: its end shows at the channel at once, or at the next look. */
  watchAdopted(): void {
    const { system } = this.#deps;
    const look = () => {
      if (!this.#ended && !(this.identity && isRunning(this.identity))) this.#end(null, null);
      if (this.#ended) cancel();
    };
    const cancel = system.timers.every(adoptedPollMs, look);
    void this.hello.then(() => this.#lookWhenChannelCloses(look));
  }

  /** A closing socket comes a moment before the process is gone: look closely for a while. */
  async #lookWhenChannelCloses(look: () => void): Promise<void> {
    const { timers } = this.#deps.system;
    while (!this.#ended) {
      const channel = this.#channel;
      if (channel) await channel.closed;
      for (let turn = 0; turn < 50 && !this.#ended && !this.#channel; turn++) {
        look();
        await timers.sleep(5);
      }
      if (!this.#channel) await timers.sleep(adoptedPollMs);
    }
  }

  /** Asks the process by signal; `reason` is what its exit will say. */
  terminate(reason: string): void {
    this.#reason ??= reason;
    if (this.identity && !this.#ended) signalProcess(this.identity, 'SIGTERM');
  }

  /** Marks the coming end as wanted. */
  expectEnd(reason: string): void {
    this.#reason ??= reason;
  }

  /** Ends the whole tree at once; `gone` tells when. */
  kill(reason: string): void {
    this.#reason ??= reason;
    const { identity } = this;
    if (identity && !this.#ended) signalGroup(identity, 'SIGKILL');
  }

  /** Counts of keys change all the time; only what a person would call news is passed on. */
  #take(status: HostStatus): void {
    const before = this.#status;
    this.#status = status;
    if (before === null || news(before) !== news(status)) this.#deps.onStatus(this, status);
  }

  #end(code: number | null, signal: string | null): void {
    if (this.#ended) return;
    this.#ended = true;
    void this.#bury(code, signal);
  }

  async #bury(code: number | null, signal: string | null): Promise<void> {
    const { system, onGone } = this.#deps;
    await buryTree(system, this.processId, this.identity);
    await onGone(this);
    this.#channel?.close();
    this.#channel = null;
    this.#resolveGone({
      code,
      signal,
      reason: this.#reason ?? describeExit(code, signal),
      at: isoTime(system.clock),
    });
  }
}

function news({ state, component, publisher, health, job }: HostStatus): string {
  return JSON.stringify([state, component?.state, publisher?.state, health.ready, health.message, job]);
}

function describeExit(code: number | null, signal: string | null): string {
  if (signal !== null) return `killed by ${signal}`;
  if (code !== null) return `ended with code ${code}`;
  return 'ended; its exit code went to an agent that is gone';
}
