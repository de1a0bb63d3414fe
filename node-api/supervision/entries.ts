/**
 * The table of entries: what this node shall run, and the last hundred that ended. Every change of state passes through
 * `advance` or `finish`, which write it down and tell the events. The writing is best effort there: a full disk must
 * not keep a crash from being handled. What must be on disk before it happens is saved by whoever makes it happen.
 */
import { rm } from 'node:fs/promises';
import {
  canonicalJson,
  HoldfastError,
  isoTime,
  type HostState,
  type ProcessInfo,
  type ProcessState,
  type StartProcessRequest,
  type System,
} from '#core';
import type { FastifyBaseLogger } from 'fastify';
import type { EventLog } from '../observation/event-log.ts';
import type { ProcessStore } from '../store/process-store.ts';
import { endedMax, type EntryRecord } from '../store/records.ts';
import type { HostExit, HostProcess } from './host-process.ts';
import { isLive, step, type LifeEvent } from './process-life.ts';
import type { StartPlan } from './start-plan.ts';

/** An entry as the running agent holds it. */
export interface Entry {
  readonly record: EntryRecord;
  host: HostProcess | null;
  /** The bring-up under way, whatever comes of it; null when there is none. */
  bringUp: Promise<void> | null;
  /** The first start, for those who ask for the same again meanwhile. */
  starting: Promise<ProcessInfo> | null;
  stopping: Promise<void> | null;
  /** Ends the watch over the running host's health; null while there is none. */
  endWatch: (() => void) | null;
  /** Aborts a bring-up and a wait for the next one. */
  readonly abort: AbortController;
}

export interface EntriesDeps {
  system: System;
  log: FastifyBaseLogger;
  store: ProcessStore;
  events: EventLog;
  directoryOf(processId: string): string;
}

export type Entries = ReturnType<typeof createEntries>;

export function createEntries({ system, log, store, events, directoryOf }: EntriesDeps) {
  const entries = new Map<string, Entry>();
  const { document } = store;
  for (const record of Object.values(document.entries)) entries.set(record.entryId, wrap(record));

  return {
    all: () => [...entries.values()],
    ended: () => document.ended,
    add(packageName: string, request: StartProcessRequest, plan: StartPlan): Entry {
      const { packageVersion } = plan.package;
      const record: EntryRecord = {
        entryId: system.random.id(12),
        processId: '',
        state: 'Starting',
        role: plan.role,
        packageName,
        packageVersion,
        hostPackage: nameOf(plan.hostPackage),
        publisher: plan.publisher && nameOf(plan.publisher),
        instanceId: plan.instanceId,
        settingsId: request.settingsId ?? null,
        request,
        startedAt: isoTime(system.clock),
        restarts: 0,
        crashes: [],
        everRan: false,
        lastExit: null,
        ...(plan.healthPort === null ? {} : { healthPort: plan.healthPort }),
      };
      const entry = wrap(record);
      entries.set(record.entryId, entry);
      document.entries[record.entryId] = record;
      return entry;
    },
    bySettingsId: (settingsId: string) =>
      [...entries.values()].find(entry => entry.record.settingsId === settingsId),
    byHost: (host: HostProcess) => [...entries.values()].find(entry => entry.host === host),
    /** Whether the event changed the state. `facts` go to the event of that type, if one is given. */
    advance(entry: Entry, event: LifeEvent, type?: string, facts: Record<string, unknown> = {}): boolean {
      const next = step(entry.record.state, event);
      if (next === null) return false;
      entry.record.state = next;
      if (type) publish(entry, type, facts);
      save();
      return true;
    },
    /** The entry is over. Does nothing the second time. */
    finish(entry: Entry, exit: HostExit, type: string): void {
      if (!entries.delete(entry.record.entryId)) return;
      entry.record.lastExit = exit;
      entry.record.state = step(entry.record.state, 'ended') ?? 'Exited';
      const info = toInfo(entry);
      entry.host = null;
      delete document.entries[entry.record.entryId];
      if (entry.record.processId !== '') archive(info);
      publish(entry, type, { reason: exit.reason });
      save();
    },
    /** The entry gets a new process: the old id stays findable among the ended. */
    archiveProcess(entry: Entry): void {
      archive({ ...toInfo(entry), pid: null, state: 'Exited', hostUri: null });
    },
    info: toInfo,
    publish,
    save,
  };

  function publish(entry: Entry, type: string, facts: Record<string, unknown> = {}): void {
    const { processId, packageName, packageVersion, settingsId, instanceId, state, restarts } = entry.record;
    const known = { processId, packageName, packageVersion, settingsId, instanceId, state, restarts };
    events.publish(type, { ...known, ...facts });
    log.info({ ...known, ...facts, event: type }, 'process');
  }

  function save(): void {
    store.save().catch((error: unknown) => log.error({ err: error }, 'cannot write the process store'));
  }

  function archive(info: ProcessInfo): void {
    document.ended.push(info);
    for (const dropped of document.ended.splice(0, Math.max(0, document.ended.length - endedMax))) {
      rm(directoryOf(dropped.processId), { recursive: true, force: true }).catch((error: unknown) => {
        log.warn({ err: error, processId: dropped.processId }, 'cannot remove the folder of an old process');
      });
    }
  }
}

function wrap(record: EntryRecord): Entry {
  const abort = new AbortController();
  return { record, host: null, bringUp: null, starting: null, stopping: null, endWatch: null, abort };
}

function nameOf({ packageName, packageVersion }: { packageName: string; packageVersion: string }) {
  return { packageName, packageVersion };
}

/** How an entry looks from outside. */
function toInfo({ record, host }: Entry): ProcessInfo {
  const status = host?.status ?? null;
  const alive = host !== null && !host.ended;
  return {
    processId: record.processId,
    pid: alive ? host.record.pid : null,
    packageName: record.packageName,
    packageVersion: record.packageVersion,
    settingsId: record.settingsId,
    component:
      status?.component ??
      (record.role === 'component'
        ? {
            packageName: record.packageName,
            packageVersion: record.packageVersion,
            instanceId: record.instanceId,
            state: assumedState[record.state],
          }
        : null),
    state: record.state,
    hostUri: alive ? (status?.hostUri ?? null) : null,
    startedAt: record.startedAt,
    restarts: record.restarts,
    host: status && {
      state: status.state,
      health: status.health,
      ownedKeys: status.ownedKeys,
      errors: status.errors,
      publisher: status.publisher,
    },
    ...(record.job ? { job: record.job } : {}),
    lastExit: record.lastExit,
  };
}

/** The component's state while no host tells it. */
const assumedState: Record<ProcessState, HostState> = {
  Starting: 'AwaitingConfiguration',
  Running: 'Started',
  Stopping: 'Stopping',
  BackingOff: 'Errored',
  CrashLoop: 'Errored',
  Exited: 'Stopped',
};

/** @throws HoldfastError HF_SETTINGS_ID_CONFLICT unless the live entry was asked for with the same words */
export function requireSameRequest(entry: Entry, packageName: string, request: StartProcessRequest): void {
  const { record } = entry;
  if (!isLive(record.state)) return;
  const same = canonicalJson([packageName, request]) === canonicalJson([record.packageName, record.request]);
  if (same) return;
  throw new HoldfastError(
    'HF_SETTINGS_ID_CONFLICT',
    `the live process ${record.processId} has the settingsId ${record.settingsId} with another request; stop it first`,
    { details: { processId: record.processId, settingsId: record.settingsId } },
  );
}

/** Whether the entry runs, or would be restarted, from this package version. */
export function usesPackage({ record }: Entry, name: string, version: string): boolean {
  const used = [record, record.hostPackage, record.publisher];
  return used.some(item => item?.packageName === name && item.packageVersion === version);
}
