/**
 * Which store a node belongs to, and handing it another one. A node that nobody told anything uses the embedded store of its
 * machine, and can be assigned the cluster's while it runs nothing. From then on it keeps it: its hosts are bound to that store
 * for as long as they live, and two stores know nothing of each other's claims.
 */
import { join } from 'node:path';
import { checkCoordinationStore, coordinationAddress } from '#ownership';
import {
  COORDINATION_FILE,
  describeStore,
  HoldfastError,
  isRunning,
  isSameStore,
  storeFingerprint,
  type CoordinationAddress,
  type NodeCoordination,
  type NodeStore,
  type RedisAddress,
  type System,
} from '#core';
import type { FastifyBaseLogger } from 'fastify';
import { removeAddress, writeAddress, type FoundAddress } from './address-file.ts';
import type { HostRecord } from '../store/records.ts';
import type { StoreConnection } from './store-connection.ts';

export type AssignmentDecision =
  /** It is the node's store already; how the node reaches it stays as it is. */
  { accept: 'same' } | { accept: 'assign' } | { accept: false; reason: string };

/** Pure. */
export function decideAssignment(node: {
  present: CoordinationAddress;
  given: RedisAddress;
  source: NodeCoordination['source'];
  path: string | null;
  /** Processes that somebody asked for; warm spares do not count. */
  running: number;
}): AssignmentDecision {
  const { present, given, source, path, running } = node;
  if (isSameStore(present, given)) return { accept: 'same' };
  if (source !== 'default') {
    const { kind, endpoints } = describeStore(present);
    const place =
      kind === 'redis' ? `${kind} ${endpoints.join(', ')}, said by ${path}` : `${kind}, said by ${path}`;
    return {
      accept: false,
      reason: `it belongs to another store (${place}); stop it, remove that, and start it again`,
    };
  }
  if (running > 0) {
    return { accept: false, reason: `${running} processes run on its embedded store; stop them first` };
  }
  return { accept: 'assign' };
}

/**
 * Hosts that an earlier agent left must not run beside others on another store: they would not know of each other's keys.
 * @throws HoldfastError HF_WRONG_STATE
 */
export function requireOwnStore(
  records: readonly HostRecord[],
  { address, path }: FoundAddress,
  stateRoot: string,
): void {
  const store = storeFingerprint(address.kind === 'redis' ? address : coordinationAddress(stateRoot));
  const strangers = records.filter(
    record =>
      record.store !== undefined &&
      record.store !== store &&
      record.pid !== null &&
      record.startTime !== null &&
      isRunning({ pid: record.pid, startTime: record.startTime }),
  );
  if (strangers.length === 0) return;
  throw new HoldfastError(
    'HF_WRONG_STATE',
    `${strangers.length} hosts of this node still run on another coordination store than ${path ?? 'the embedded one'} names; ` +
      'put the address back and stop them (holdfast node --stop-hosts), or wait until they end by themselves',
    { details: { processIds: strangers.map(({ processId }) => processId) } },
  );
}

export interface Assignment {
  /** The store as it is seen now, asked for about a second. Never rejects. */
  describe(): Promise<NodeCoordination>;
  /**
   * Makes this store the node's, durably. Idempotent, and quick: it does not ask the store.
   * @throws HoldfastError HF_WRONG_STATE when the node belongs to another one, or runs something on its own
   */
  assign(given: RedisAddress): Promise<NodeStore>;
}

export interface AssignmentDeps {
  system: System;
  log: FastifyBaseLogger;
  found: FoundAddress;
  connection: StoreConnection;
  dataDirectory: string;
  running(): number;
  sessionsToEnd(): number;
  /** The store is another one: what waits with the address of the old one is of no use. */
  onReplaced(): void;
}

export function createAssignment(deps: AssignmentDeps): Assignment {
  const { system, log, connection, dataDirectory } = deps;
  let { source, path } = deps.found;
  let findings: { problems: string[]; warnings: string[] } = { problems: [], warnings: [] };
  let turn: Promise<unknown> = Promise.resolve();
  // Again whenever it was away: it may be another server now.
  connection.directory.watch(event => {
    if (event.type === 'reset') inspected = inspect();
  });
  let inspected = inspect();

  /** Settings of the store that could cost keys are for its operator to change; the node goes on. */
  async function inspect(): Promise<void> {
    const { address } = connection;
    if (address.kind !== 'redis') return;
    const found = await checkCoordinationStore(address, system);
    if (connection.address !== address) return;
    findings = {
      problems: found.flatMap(({ problems }) => problems),
      warnings: found.flatMap(({ warnings }) => warnings),
    };
    for (const problem of findings.problems)
      log.error({ problem }, 'the coordination store is not fit for use');
    for (const warning of findings.warnings)
      log.warn({ warning }, 'the coordination store could be set up better');
  }

  async function describe(): Promise<NodeCoordination> {
    const away = await connection.probe();
    if (away === null) await inspected;
    return {
      ...present(),
      reachable: away === null,
      problem: away ?? (findings.problems.length > 0 ? findings.problems.join('; ') : null),
      warnings: findings.warnings,
      sessionsToEnd: deps.sessionsToEnd(),
    };
  }

  function decide(given: RedisAddress): Exclude<AssignmentDecision['accept'], false> {
    const decision = decideAssignment({
      present: connection.address,
      given,
      source,
      path,
      running: deps.running(),
    });
    if (decision.accept !== false) return decision.accept;
    throw new HoldfastError(
      'HF_WRONG_STATE',
      `this node cannot take the coordination store: ${decision.reason}`,
      {
        details: { present: describeStore(connection.address), given: describeStore(given) },
      },
    );
  }

  const present = (): NodeStore => ({ ...describeStore(connection.address), source });

  async function assign(given: RedisAddress): Promise<NodeStore> {
    if (decide(given) !== 'same') {
      const file = join(dataDirectory, COORDINATION_FILE);
      await writeAddress(file, given);
      try {
        decide(given); // something may have been started while the disk worked
      } catch (error) {
        await removeAddress(file);
        throw error;
      }
      [source, path] = ['assigned', file];
      await connection.replace(given);
      findings = { problems: [], warnings: [] };
      deps.onReplaced();
      log.info(present(), 'this node has been assigned its coordination store');
    }
    return present();
  }

  return {
    describe,
    assign(given) {
      // One at a time: two that differ must not both find the node free.
      const result = turn.then(() => assign(given));
      turn = result.catch(() => {}); // the caller hears of it
      return result;
    },
  };
}
