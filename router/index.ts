/** The HTTP front door: each request goes, by its resource key, to the one process that owns that key. */
/** Makes a router; `main.ts` wraps it as a component. Rejects at `start` with HF_PORT_IN_USE. */
export { createRouter, type Router, type RouterDeps } from './router.ts';
/** The router's own settings, with the defaults of its manifest. */
export { routerSettings, type RouterSettings } from './settings.ts';
/** Which instance answers a path, and under which key. `resourceKey` throws HF_KEY_INVALID. */
export { buildRouteTable, findRoute, resourceKey, type Route, type RouteTable } from './route-table.ts';
