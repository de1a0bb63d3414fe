/** Figures for Prometheus, in a registry of their own. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { PackageStore } from '#package-manager';
import type { Entries } from '../supervision/entries.ts';
import type { EventLog } from './event-log.ts';

export interface NodeMetrics {
  text(): Promise<string>;
  observeStart(ms: number): void;
}

export function createMetrics(sources: {
  entries: Entries;
  packages: PackageStore;
  events: EventLog;
  spares: () => number;
}): NodeMetrics {
  const registry = new Registry();
  const registers = [registry];
  new Gauge({
    name: 'holdfast_node_processes',
    help: 'Processes by state',
    labelNames: ['state'] as const,
    registers,
    collect() {
      this.reset();
      for (const { record } of sources.entries.all()) this.inc({ state: record.state });
    },
  });
  new Gauge({
    name: 'holdfast_node_spare_hosts',
    help: 'Unconfigured hosts that wait for a start',
    registers,
    collect() {
      this.set(sources.spares());
    },
  });
  new Gauge({
    name: 'holdfast_node_package_versions',
    help: 'Stored package versions',
    registers,
    collect() {
      this.set(sources.packages.list().length);
    },
  });
  const happened = new Counter({
    name: 'holdfast_node_events_total',
    help: 'Events by type: starts, crashes, restarts and so on',
    labelNames: ['type'] as const,
    registers,
  });
  sources.events.subscribe(({ event }) => happened.inc({ type: event.type }));
  const starts = new Histogram({
    name: 'holdfast_node_start_seconds',
    help: 'From the request for a start to the running component',
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers,
  });
  return { text: () => registry.metrics(), observeStart: ms => starts.observe(ms / 1000) };
}
