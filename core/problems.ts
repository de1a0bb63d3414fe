/** What is wrong with a document, and where: apart from the checker of schemas, which is large, and most processes do without. */

/** One thing that is wrong. `path` is a JSON path like `$.routes[0].pathPrefix`. */
export interface Problem {
  path: string;
  /** The offending value, shortened, and hidden if its name says that it is secret; absent when something is missing. */
  value?: unknown;
  expected: string;
}

/** More of them help nobody, and make a page of each mistake that was made many times. */
export const PROBLEMS_MAX = 50;

/** Whether arrays and objects lie more than `depthMax` deep in each other: most code that walks them recurses. */
export function isDeeperThan(value: unknown, depthMax: number): boolean {
  let level = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > depthMax) return true;
    level = level
      .filter(item => typeof item === 'object' && item !== null)
      .flatMap(Object.values) as unknown[];
  }
  return false;
}

/** `$.a[0]["odd name"]` from path segments. */
export function jsonPath(segments: readonly (string | number)[]): string {
  return segments.reduce<string>((path, segment) => {
    if (typeof segment === 'number') return `${path}[${segment}]`;
    return /^[A-Za-z_$][\w$-]*$/.test(segment) ? `${path}.${segment}` : `${path}[${JSON.stringify(segment)}]`;
  }, '$');
}

/** One line for people: path, value, expectation. */
export function describeProblem(problem: Problem): string {
  const value = problem.value === undefined ? '' : ` is ${JSON.stringify(problem.value)},`;
  return `${problem.path}${value} expected ${problem.expected}`;
}
