/** `GET /`: what this router knows, for people and for checks from outside. No secrets, no addresses of hosts. Pure. */
import type { InstanceId, Session } from '#core';
import type { Bounded, Bounds, Counters } from './counters.ts';
import type { RouteTable } from './route-table.ts';

export interface HealthFacts {
  processId: string;
  clusterName: string;
  /** Null until the settings have come. */
  routes: RouteTable | null;
  sessions: (pool: InstanceId) => Iterable<Session>;
  counters: Readonly<Counters>;
  bounds: Bounds;
}

export interface HealthPage {
  router: string;
  cluster: string;
  status: 'ok' | 'waiting for settings';
  routes: {
    pathPrefix: string;
    componentInstanceId: string;
    sessions: { processId: string; nodeName: string; ready: boolean; draining: boolean }[];
  }[];
  /** Since the start. */
  counters: Readonly<Counters>;
  /** At this moment. */
  bounds: Bounds;
}

export function healthPage(facts: HealthFacts): HealthPage {
  return {
    router: facts.processId,
    cluster: facts.clusterName,
    status: facts.routes ? 'ok' : 'waiting for settings',
    routes: (facts.routes ?? []).map(route => ({
      pathPrefix: route.prefix,
      componentInstanceId: route.pool,
      sessions: [...facts.sessions(route.pool)].map(({ processId, nodeName, ready, draining }) => ({
        processId,
        nodeName,
        ready,
        draining,
      })),
    })),
    counters: facts.counters,
    bounds: facts.bounds,
  };
}

/** Whether a client would rather read HTML. */
export function wantsHtml(accept: string | undefined): boolean {
  return accept !== undefined && /\btext\/html\b/i.test(accept);
}

export function healthHtml(page: HealthPage): string {
  const rows = page.routes
    .map(route => {
      const sessions = route.sessions
        .map(session => {
          const notes = [session.ready ? '' : 'not ready', session.draining ? 'draining' : ''].filter(
            Boolean,
          );
          return escape(`${session.processId}${notes.length > 0 ? ` (${notes.join(', ')})` : ''}`);
        })
        .join('<br>');
      return `<tr><td>${escape(route.pathPrefix)}</td><td>${escape(route.componentInstanceId)}</td><td>${sessions || 'none'}</td></tr>`;
    })
    .join('\n');
  const counts = Object.entries(page.counters)
    .map(([name, count]) => `<tr><td>${escape(name)}</td><td>${count}</td></tr>`)
    .join('\n');
  const bounds = Object.entries<Bounded>({ ...page.bounds })
    .map(([name, { now, max }]) => `<tr><td>${escape(name)}</td><td>${now} of ${max}</td></tr>`)
    .join('\n');
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Holdfast router</title>
<style>body{font:16px system-ui;margin:2rem auto;max-width:50rem}td,th{text-align:left;padding:.2rem 1rem .2rem 0;vertical-align:top}</style>
</head><body>
<h1>Holdfast router</h1>
<p>${escape(page.router)} of the cluster ${escape(page.cluster)}: ${page.status}</p>
<table><tr><th>path</th><th>instance</th><th>hosts</th></tr>
${rows}
</table>
<h2>Now</h2>
<table>
${bounds}
</table>
<h2>Since its start</h2>
<table>
${counts}
</table>
</body></html>
`;
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`);
}
