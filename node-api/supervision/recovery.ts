/**
 * What an agent does with what an earlier one left. Every host in the store is either still that very process (by pid
 * *and* start time): then it is adopted and gets time to say hello again, or it is gone: then its tree is cleared away
 * and its session ended like after any crash. What carries our mark but is in no record (the agent died between
 * intent and record, or a grandchild survived) is cleared away too. Nothing else on the machine is ever signalled.
 */
import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isoTime, isRunning, type System } from '#core';
import type { FastifyBaseLogger } from 'fastify';
import type { ProcessStore } from '../store/process-store.ts';
import type { HostRecord } from '../store/records.ts';
import type { Entries, Entry } from './entries.ts';
import type { HostProcess } from './host-process.ts';
import type { Hosts } from './hosts.ts';
import { buryTree, markedProcesses } from './process-tree.ts';
import type { Spares } from './spares.ts';
import { within } from './stop-host.ts';
import type { Supervisor } from './supervisor.ts';

const abandonedGraceMs = 1_000;

export interface RecoveryDeps {
  system: System;
  log: FastifyBaseLogger;
  store: ProcessStore;
  hosts: Hosts;
  entries: Entries;
  spares: Spares;
  supervisor: Supervisor;
  endSessions(processId: string): Promise<void>;
  adoptionTimeoutMs: number;
}

export interface Leftovers {
  alive: HostRecord[];
  dead: HostRecord[];
  /** Marks of processes that no live host explains. */
  strays: string[];
}

/** Sorts what was left. Pure but for the questions that it is given. */
export function sortLeftovers(
  records: readonly HostRecord[],
  marks: Iterable<string>,
  ask: { isRunning(identity: { pid: number; startTime: string }): boolean; isOurs(mark: string): boolean },
): Leftovers {
  const alive = records.filter(
    ({ pid, startTime }) => pid !== null && startTime !== null && ask.isRunning({ pid, startTime }),
  );
  const dead = records.filter(record => !alive.includes(record));
  const known = new Set(records.map(record => record.processId));
  const strays = [...marks].filter(mark => !known.has(mark) && ask.isOurs(mark));
  return { alive, dead, strays };
}

/** Resolves when what is gone has been dealt with and what lives is adopted; the hellos may come later. */
export async function recover(deps: RecoveryDeps): Promise<void> {
  const { system, log, store, hosts, entries, spares, supervisor, endSessions } = deps;
  const { alive, dead, strays } = sortLeftovers(
    Object.values(store.document.hosts),
    markedProcesses().keys(),
    {
      isRunning,
      isOurs: mark => /^[A-Za-z0-9._-]{1,128}$/.test(mark) && existsSync(hosts.directoryOf(mark)),
    },
  );
  const byProcessId = new Map(entries.all().map(entry => [entry.record.processId, entry]));
  const adopted = alive.map(record => hosts.adopt(record));
  await hosts.listen();

  await Promise.all(
    [...dead.map(record => record.processId), ...strays].map(async processId => {
      log.warn({ processId }, 'clearing away what is left of a process');
      await buryTree(system, processId, null);
      await endSessions(processId);
      delete store.document.hosts[processId];
    }),
  );
  entries.save();

  for (const host of adopted) {
    const entry = byProcessId.get(host.processId);
    byProcessId.delete(host.processId);
    if (entry) void adoptEntry(deps, entry, host);
    else spares.adopt(host);
  }
  await removeForgottenFolders(deps);
  for (const entry of byProcessId.values()) resumeWithoutProcess(supervisor, entries, system, entry);
}

/** Folders of spares and failed launches, which nobody can ask for any more. */
async function removeForgottenFolders({ log, store, hosts, entries }: RecoveryDeps): Promise<void> {
  const known = new Set([
    ...Object.keys(store.document.hosts),
    ...entries.all().map(entry => entry.record.processId),
    ...entries.ended().map(info => info.processId),
  ]);
  const root = dirname(hosts.directoryOf('any'));
  try {
    for (const name of await readdir(root)) {
      if (!known.has(name)) await rm(join(root, name), { recursive: true, force: true });
    }
  } catch (error) {
    log.warn({ err: error }, 'cannot remove the folders of processes that are forgotten');
  }
}

async function adoptEntry(deps: RecoveryDeps, entry: Entry, host: HostProcess): Promise<void> {
  const { system, entries, supervisor, adoptionTimeoutMs } = deps;
  const { record } = entry;
  entry.host = host;
  if (record.state === 'Stopping') {
    await supervisor.kill([entry]);
    return;
  }
  const found = record.state;
  supervisor.watch(entry, host);
  const status = await within(
    system,
    adoptionTimeoutMs,
    Promise.race([host.hello, host.gone.then(() => null)]),
  );
  if (host.ended || entry.host !== host) return; // its end has been, or is being, dealt with
  const runs = status && (record.role === 'host' || status.component?.state === 'Started');
  // A Running entry whose component its operator stopped through the host's own API is adopted as it is.
  if (status && (runs || found === 'Running')) {
    record.everRan = true;
    if (found === 'Starting') entries.advance(entry, 'ready');
    entries.publish(entry, 'process-adopted');
    return;
  }
  // A first start that nobody was told of is not made up for: whoever wanted it asks again.
  if (!record.everRan) await supervisor.kill([entry], abandonedGraceMs);
  else host.kill(status ? 'its agent ended before it was started' : 'it did not say hello to the new agent');
}

/** The entry's process died with the agent away, or there was none. */
function resumeWithoutProcess(supervisor: Supervisor, entries: Entries, system: System, entry: Entry): void {
  const at = isoTime(system.clock);
  const exit = { code: null, signal: null, reason: 'ended while no agent was there', at };
  switch (entry.record.state) {
    case 'BackingOff':
      return supervisor.restartAfter(entry, 0);
    case 'CrashLoop':
      return;
    case 'Stopping':
    case 'Exited':
      return entries.finish(entry, exit, 'process-stopped');
    case 'Starting':
    case 'Running':
      if (entry.record.everRan) supervisor.crashed(entry, exit);
      else entries.finish(entry, exit, 'process-start-failed');
  }
}
