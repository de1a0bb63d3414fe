/** The host's figures for Prometheus. The library is loaded when somebody first asks: most hosts are never asked. */
import type { HostStatus } from '#core';
import type { GuardMetrics } from '#ownership';

/** Counted by the data plane since the process started. */
export interface HostCounters {
  requests: number;
  /** Answered with 421. */
  notOwner: number;
  /** Answered with an error otherwise. */
  failures: number;
}

export function createHostCounters(): HostCounters {
  return { requests: 0, notOwner: 0, failures: 0 };
}

/** The text for `/metrics`. */
export type RenderMetrics = () => Promise<string>;

export interface MetricSources {
  counters: HostCounters;
  status: () => HostStatus;
  /** Null while nothing is served. */
  guard: () => Readonly<GuardMetrics> | null;
  /** Whether a watchdog watches the event loop. */
  watching: () => boolean;
}

export function createMetrics(sources: MetricSources): RenderMetrics {
  let render: Promise<RenderMetrics> | undefined;
  return async () => {
    render ??= buildRegistry(sources);
    return (await render)();
  };
}

async function buildRegistry({ counters, status, guard, watching }: MetricSources): Promise<RenderMetrics> {
  const { collectDefaultMetrics, Counter, Gauge, Registry } = await import('prom-client');
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];

  const counter = (name: string, help: string, read: () => number) =>
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  counter('holdfast_host_requests_total', 'Requests over the router channel.', () => counters.requests);
  counter('holdfast_host_not_owner_total', 'Requests answered with 421.', () => counters.notOwner);
  counter('holdfast_host_failures_total', 'Requests that failed otherwise.', () => counters.failures);
  const ofGuard: Record<keyof GuardMetrics, [name: string, help: string]> = {
    overruns: ['overruns', 'Answers finished after the right to give them had ended.'],
    opens: ['opens', 'Resources opened, or tried to.'],
    openFailures: ['open_failures', 'Resources that could not be opened.'],
    closeFailures: ['close_failures', 'Resources that could not be closed cleanly.'],
    refusals: ['refusals', 'Requests for keys that are not owned here.'],
    sessionsLost: ['sessions_lost', 'Sessions that ended against the will of the host.'],
    renewalFailures: ['renewal_failures', 'Renewals of the session that failed.'],
    handoffs: ['handoffs', 'Keys handed to another host.'],
    passivations: ['passivations', 'Keys closed and given back because nobody asked for them.'],
    resumes: ['resumes', 'Sessions that took the place of a lost one, with the keys it held.'],
    serveFencedMs: [
      'serve_fenced_milliseconds',
      'Time served past the deadline, because commits are fenced.',
    ],
  };
  for (const [field, [name, help]] of Object.entries(ofGuard)) {
    counter(`holdfast_guard_${name}_total`, help, () => guard()?.[field as keyof GuardMetrics] ?? 0);
  }
  new Gauge({
    name: 'holdfast_host_owned_keys',
    help: 'Keys open here.',
    registers,
    collect() {
      this.set(status().ownedKeys);
    },
  });
  new Gauge({
    name: 'holdfast_host_watchdog',
    help: '1 while a thread watches that the event loop does not stall past the deadline.',
    registers,
    collect() {
      this.set(watching() ? 1 : 0);
    },
  });
  new Gauge({
    name: 'holdfast_host_state',
    help: '1 for the state that the host is in.',
    labelNames: ['state'],
    registers,
    collect() {
      this.reset();
      this.set({ state: status().state }, 1);
    },
  });
  return () => registry.metrics();
}
