/** The routes and the hold time, as the settings in the coordination store say; the last good ones stay. */
import {
  parseSettings,
  SETTINGS_DOCUMENT,
  type DocumentStore,
  type Logger,
  type StoredSettings,
} from '#core';
import { buildRouteTable, type RouteTable } from './route-table.ts';

export interface Routing {
  table: RouteTable;
  holdMs: number;
}

/** Calls with every valid version of the settings. The result stops it. */
export function watchRouting(
  documents: DocumentStore,
  log: Logger,
  onRouting: (routing: Routing) => void,
): () => void {
  return documents.watch(SETTINGS_DOCUMENT, document => {
    try {
      const stored = JSON.parse(document.content) as StoredSettings;
      const { settings } = parseSettings(stored.text);
      const { table, problems } = buildRouteTable(settings.routes);
      for (const problem of problems) log.warn({ problem }, 'a route is left out');
      onRouting({ table, holdMs: settings.holdMs });
      log.info({ etag: document.etag, routes: table.map(route => route.prefix) }, 'routes taken over');
    } catch (error) {
      log.error(
        { err: error, etag: document.etag },
        'the stored settings cannot be used; the last ones stay',
      );
    }
  });
}
