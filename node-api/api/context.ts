/** What the routes of the node API work with. */
import type { PackageStore } from '#package-manager';
import type { FastifyBaseLogger } from 'fastify';
import type { System } from '#core';
import type { Assignment } from '../coordination/assignment.ts';
import type { Condition } from '../observation/condition.ts';
import type { EventLog } from '../observation/event-log.ts';
import type { ProcessStatistics } from '../observation/process-stats.ts';
import type { ResolvedOptions } from '../options.ts';
import type { ProcessStore } from '../store/process-store.ts';
import type { Entries } from '../supervision/entries.ts';
import type { Spares } from '../supervision/spares.ts';
import type { Supervisor } from '../supervision/supervisor.ts';

export interface NodeContext {
  options: ResolvedOptions;
  system: System;
  log: FastifyBaseLogger;
  startedAt: string;
  store: ProcessStore;
  packages: PackageStore;
  entries: Entries;
  supervisor: Supervisor;
  spares: Spares;
  assignment: Assignment;
  events: EventLog;
  condition: Condition;
  statistics: ProcessStatistics;
  directoryOf(processId: string): string;
  /** Resolves when what an earlier agent left has been taken over: no request is answered before. */
  recovered: Promise<void>;
  /** Aborts when the agent closes: event streams end with it. */
  closing: AbortSignal;
}
