/**
 * Looks at every node at once, each with its own deadline, and remembers what it saw last. A node that was taken out of the
 * settings is looked at until it runs nothing of ours any more. Listens to the nodes' events besides, so that a change
 * is acted on at once.
 */
import { createNodeClient, type NodeClient } from '#client';
import {
  formatLeaderMark,
  HoldfastError,
  isoTime,
  type ApiEvent,
  type ClusterSettings,
  type CoordinationAddress,
  type LeaderMark,
  type Logger,
  type NodePressure,
  type System,
} from '#core';
import { parseSettingsId } from '../planning/desired.ts';
import { createGate } from './bounded.ts';
import { steady, stepFlapping, type FlappingRule, type FlappingState } from './flapping.ts';
import {
  afterAnswer,
  afterMiss,
  isGivenUp,
  neverSeen,
  withHealth,
  type Moment,
  type ObservedNodeFacts,
  type Seen,
} from './node-facts.ts';

export interface Observer {
  /** Follows the settings' nodes. */
  setNodes(settings: ClusterSettings): void;
  /** Looks at all nodes; without `packages` only at their processes, which is cheap. Never rejects. */
  refresh(options: { packages: boolean }): Promise<void>;
  /** What was seen last, in the settings' order. */
  nodes(): readonly ObservedNodeFacts[];
  /** Whether it answered the last look. */
  answers(node: string): boolean;
  /** @throws HoldfastError HF_NOT_FOUND */
  client(node: string): NodeClient;
  stop(): void;
}

interface Entry {
  client: NodeClient;
  facts: ObservedNodeFacts;
  healthySince: ReadonlyMap<string, number>;
  flapping: FlappingState;
  /** When it said last what it is short of. */
  conditionAtMs: number;
  listening: AbortController;
  inSettings: boolean;
  /** It has the cluster's coordination store, and was connected ever since: it may come back with an empty folder. */
  hasStore: boolean;
  /** The mark that the node has seen: from then on it refuses older leaders. */
  announced: string | null;
  /** Looks begun, and the newest of them that has told its result: an older one that ends later says nothing new. */
  begun: number;
  told: number;
  /** A look at a node that did not answer before, not waited for. */
  retrying: Promise<void> | null;
}

const parallelMax = 64;
const reconnectMs = 1_000;
const conditionEveryMs = 5_000;
/** How exactly a node is given up, or trusted again. */
const clockEveryMs = 250;

export function createObserver(options: {
  system: System;
  log: Logger;
  token: string;
  timeoutMs: number;
  /** The cluster's store. A node that has none of its own yet is handed it before anything is started there. */
  store: CoordinationAddress;
  /** Copies on a node that was away longer than this count as new when it returns. */
  deadAfterMs: number;
  flapping: FlappingRule;
  leader: () => LeaderMark | null;
  /** Whether this manager may act. */
  leads: () => boolean;
  /** A node has seen a newer leader. */
  deposed: () => void;
  /** A node said that something changed, or its state did. */
  onChange: (reason: string) => void;
  onEvent: (event: ApiEvent) => void;
}): Observer {
  const { system, log, timeoutMs } = options;
  const entries = new Map<string, Entry>();
  const gate = createGate(parallelMax);
  /** Of their own, so that many nodes that hang do not keep those waiting that answer. */
  const retryGate = createGate(parallelMax);
  const cancelClock = system.timers.every(clockEveryMs, tick);
  const now = () => system.clock.monotonicMs();

  function setNodes(settings: ClusterSettings): void {
    const wanted = new Map(settings.nodeServers.map(node => [node.networkName, node.nodeApiUri]));
    const before = new Map(entries);
    entries.clear();
    for (const [name, uri] of wanted) {
      const present = before.get(name);
      if (present?.facts.nodeApiUri === uri) {
        entries.set(name, present);
        present.inSettings = true;
      } else entries.set(name, createEntry(name, uri));
    }
    for (const [name, entry] of before) {
      if (entries.get(name) === entry) continue;
      entry.inSettings = false;
      // Under its old name it stays visible until it is empty; a node that moved to another address is seen there.
      if (!wanted.has(name) && runsOurs(entry)) entries.set(name, entry);
      else entry.listening.abort();
    }
  }

  function createEntry(name: string, uri: string): Entry {
    const client = createNodeClient({ uri, token: options.token, timeoutMs, leader: options.leader });
    const entry: Entry = {
      client,
      facts: neverSeen(name, uri),
      healthySince: new Map(),
      flapping: steady,
      conditionAtMs: -Infinity,
      listening: new AbortController(),
      inSettings: true,
      hasStore: false,
      announced: null,
      begun: 0,
      told: 0,
      retrying: null,
    };
    void listen(entry);
    return entry;
  }

  async function listen(entry: Entry): Promise<void> {
    const { signal } = entry.listening;
    while (!signal.aborted) {
      try {
        for await (const event of entry.client.events(signal)) {
          options.onEvent({ ...event, nodeName: entry.facts.name });
          options.onChange(`${entry.facts.name} reports ${event.type}`);
        }
      } catch (error) {
        // Whether the node is well is for `refresh` to say; this only loses speed.
        log.debug({ node: entry.facts.name, error: String(error) }, 'no events from a node');
      }
      entry.hasStore = false;
      await system.timers.sleep(reconnectMs, signal).catch(() => {}); // aborted: the loop ends
    }
  }

  /** Waits for nodes that answered last time or were never asked; one that hangs delays nobody twice. */
  function visit(entry: Entry, packages: boolean): Promise<void> | null {
    if (entry.facts.problem === null) return gate(() => look(entry, packages));
    entry.retrying ??= retryGate(() => look(entry, packages)).finally(() => (entry.retrying = null));
    return null;
  }

  async function look(entry: Entry, packages: boolean): Promise<void> {
    const { client } = entry;
    const turn = ++entry.begun;
    let seen: Seen | null = null;
    let problem = '';
    const closely = packages || entry.facts.state !== 'ready';
    // It changes slowly: with every look it would double the calls.
    const asksCondition = closely || now() - entry.conditionAtMs >= conditionEveryMs;
    try {
      await announce(entry);
      if (closely || !entry.hasStore) await shareStore(entry);
      const [processes, installed, pressure] = await Promise.all([
        client.processes({ timeoutMs }),
        closely ? client.packages({ timeoutMs }) : entry.facts.packages,
        asksCondition ? pressureOn(client) : entry.facts.pressure,
      ]);
      seen = { processes, packages: installed, pressure };
    } catch (error) {
      problem = error instanceof HoldfastError ? `${error.code}: ${error.message}` : String(error);
    }
    if (turn <= entry.told) return;
    entry.told = turn;
    if (seen && asksCondition) entry.conditionAtMs = now();
    if (!seen) return conclude(entry, afterMiss(entry.facts, problem, moment()));
    // Copies on a node that was given up count as new.
    const before = isGivenUp(entry.facts, moment()) ? new Map<string, number>() : entry.healthySince;
    const { processes, since } = withHealth(before, seen.processes, now());
    entry.healthySince = since;
    conclude(entry, afterAnswer(entry.facts, seen, processes, moment()));
  }

  /** An agent of an earlier release says nothing of it. */
  async function pressureOn(client: NodeClient): Promise<readonly NodePressure[]> {
    try {
      return (await client.condition({ timeoutMs })).pressure;
    } catch (error) {
      if (error instanceof HoldfastError && error.code === 'HF_NOT_FOUND') return [];
      throw error;
    }
  }

  /** Nodes that are away are given up when their time is over, and steady ones are trusted again, though nobody looks at that moment. */
  function tick(): void {
    for (const entry of entries.values()) {
      const { problem } = entry.facts;
      if (problem !== null) conclude(entry, afterMiss(entry.facts, problem, moment()));
      else if (entry.facts.flapping) conclude(entry, entry.facts);
    }
  }

  /** Takes what is known now, and tells what has changed of it. */
  function conclude(entry: Entry, next: ObservedNodeFacts): void {
    const { facts } = entry;
    if (next.state !== 'unknown') {
      entry.flapping = stepFlapping(entry.flapping, next.state === 'ready', now(), options.flapping);
    }
    entry.facts = { ...next, flapping: entry.flapping.flapping };
    const { name, state, problem, pressure, flapping } = entry.facts;
    const at = isoTime(system.clock);
    if (state !== facts.state) {
      if (state === 'ready') log.info({ node: name }, 'node is ready');
      else if (state === 'suspect') log.warn({ node: name, problem }, 'node does not answer');
      else if (state === 'dead') log.error({ node: name, problem }, 'node is given up');
      options.onEvent({ type: 'node', at, nodeName: name, state, problem });
      options.onChange(`${name} is ${state}`);
    }
    if (flapping !== facts.flapping) {
      log.warn({ node: name, flapping }, flapping ? 'node comes and goes' : 'node is steady again');
      options.onEvent({ type: 'node-flapping', at, nodeName: name, flapping });
      options.onChange(`${name} ${flapping ? 'comes and goes' : 'is steady again'}`);
    }
    const kinds = (of: readonly NodePressure[]) => of.map(({ kind }) => kind).join(', ');
    if (kinds(pressure) !== kinds(facts.pressure)) {
      log.warn({ node: name, pressure }, 'what a node is short of has changed');
      options.onEvent({ type: 'node-pressure', at, nodeName: name, pressure });
      options.onChange(
        pressure.length === 0 ? `${name} has enough of everything` : `${name} is short of ${kinds(pressure)}`,
      );
    }
  }

  function moment(): Moment {
    return { nowMs: now(), at: isoTime(system.clock), deadAfterMs: options.deadAfterMs };
  }

  /**
   * Before a leader looks at a node for the first time the node knows its mark. So what is seen cannot be changed any more by what an
   * earlier leader sent.
   */
  async function announce(entry: Entry): Promise<void> {
    if (!options.leads()) return;
    try {
      const mark = options.leader();
      const text = mark && formatLeaderMark(mark);
      if (text === null || entry.announced === text) return;
      await entry.client.announceLeader({ timeoutMs });
      entry.announced = text;
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      if (error.code === 'HF_LEADER_STALE') options.deposed();
      // An agent of an earlier release learns the mark from the first action.
      else if (error.code !== 'HF_NOT_LEADER' && error.code !== 'HF_NOT_FOUND') throw error;
    }
  }

  /** Hosts on another store would run, and nobody would ever find them: such a node is not one of ours. The embedded one cannot be shared. */
  async function shareStore(entry: Entry): Promise<void> {
    if (options.store.kind !== 'redis') return;
    try {
      await entry.client.assignCoordination(options.store, { timeoutMs });
      entry.hasStore = true;
    } catch (error) {
      // A manager that only stands by starts nothing there; it looks again when it leads.
      if (!(error instanceof HoldfastError) || error.code !== 'HF_NOT_LEADER') throw error;
    }
  }

  return {
    setNodes,
    async refresh({ packages }) {
      await Promise.all([...entries.values()].flatMap(entry => visit(entry, packages) ?? []));
      tick();
      for (const [name, entry] of entries) {
        if (entry.inSettings || runsOurs(entry)) continue;
        entry.listening.abort();
        entries.delete(name);
      }
    },
    nodes: () => [...entries.values()].map(entry => entry.facts),
    answers: node => entries.get(node)?.facts.state === 'ready',
    client(node) {
      const entry = entries.get(node);
      if (!entry) throw new HoldfastError('HF_NOT_FOUND', `there is no node ${node}`);
      return entry.client;
    },
    stop() {
      cancelClock();
      for (const entry of entries.values()) entry.listening.abort();
    },
  };
}

function runsOurs(entry: Entry): boolean {
  return entry.facts.processes.some(process => parseSettingsId(process.settingsId) !== null);
}
