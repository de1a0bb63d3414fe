/** Which instance answers a path, and under which key. Pure; built anew whenever the cluster settings change. */
import { HoldfastError, LIMITS, type InstanceId, type ResourceKey, type RouteSettings } from '#core';
import { canonicalPathOfText, encodeSegment } from '#ownership';

export interface Route {
  /** Canonical. */
  prefix: string;
  pool: InstanceId;
  /** Lower-case name of the header that names the resource; null: the path does. */
  header: string | null;
  /** How many leading segments of the path make the key, at least the prefix's own; null: all. */
  segments: number | null;
}

/** Longest prefix first. */
export type RouteTable = readonly Route[];

/** `problems` tells of routes that were left out, in words. */
export function buildRouteTable(routes: readonly RouteSettings[]): {
  table: RouteTable;
  problems: string[];
} {
  const problems: string[] = [];
  const byPrefix = new Map<string, Route>();
  for (const route of routes) {
    try {
      const prefix = canonicalPathOfText(route.pathPrefix);
      if (byPrefix.has(prefix)) {
        problems.push(`the route ${route.pathPrefix} is the same as an earlier one`);
        continue;
      }
      const { from, segments } = route.resourceKey;
      byPrefix.set(prefix, {
        prefix,
        pool: route.componentInstanceId as InstanceId,
        header: from.startsWith('header:') ? from.slice('header:'.length).toLowerCase() : null,
        segments: segments === null ? null : Math.max(segments, countSegments(prefix)),
      });
    } catch (error) {
      problems.push(`the route ${route.pathPrefix} cannot be used: ${(error as Error).message}`);
    }
  }
  return {
    table: [...byPrefix.values()].sort((left, right) => right.prefix.length - left.prefix.length),
    problems,
  };
}

/** The route with the longest prefix that covers a canonical path on segment boundaries. */
export function findRoute(table: RouteTable, path: string): Route | null {
  for (const route of table) {
    const { prefix } = route;
    if (prefix === '/') return route;
    if (path.startsWith(prefix) && (path.length === prefix.length || path[prefix.length] === '/')) {
      return route;
    }
  }
  return null;
}

/**
 * The key of a canonical path under its route.
 * @param headerValues the values of a header (lower-case name) in the request
 * @throws HoldfastError HF_KEY_INVALID
 */
export function resourceKey(
  route: Route,
  path: string,
  headerValues: (name: string) => readonly string[] | undefined,
): ResourceKey {
  const key = route.header === null ? pathKey(route, path) : headerKey(route, route.header, headerValues);
  if (key.length > LIMITS.keyBytesMax) {
    throw new HoldfastError(
      'HF_KEY_INVALID',
      `the resource key must be at most ${LIMITS.keyBytesMax} bytes long`,
    );
  }
  return key as ResourceKey;
}

function pathKey(route: Route, path: string): string {
  if (route.segments === null) return path;
  let end = 0;
  for (let found = 0; found < route.segments; found++) {
    if (end >= path.length || path === '/') {
      throw new HoldfastError(
        'HF_KEY_INVALID',
        `the path names no resource: ${route.prefix} takes ${route.segments} segments`,
        { details: { prefix: route.prefix, segments: route.segments } },
      );
    }
    const next = path.indexOf('/', end + 1);
    end = next === -1 ? path.length : next;
  }
  return path.slice(0, end);
}

/** `#` cannot stand in a canonical path, so that these keys never meet those of paths. */
function headerKey(
  route: Route,
  name: string,
  headerValues: (name: string) => readonly string[] | undefined,
): string {
  const values = headerValues(name);
  if (values?.length !== 1 || values[0] === '') {
    throw new HoldfastError('HF_KEY_INVALID', `the request must have the header ${name} once, not empty`, {
      details: { header: name },
    });
  }
  return `${route.prefix}#${name}=${encodeSegment(Buffer.from(values[0]!, 'latin1'))}`;
}

function countSegments(prefix: string): number {
  return prefix === '/' ? 0 : prefix.split('/').length - 1;
}
