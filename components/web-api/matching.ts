/** Which endpoint a request is for. Pure. A literal segment goes before a parameter. */
import type { Endpoint } from './settings.ts';

export type Match =
  | { type: 'endpoint'; endpoint: Endpoint; parameters: Record<string, string> }
  | { type: 'other-method'; allow: string[] }
  | { type: 'none' };

/** @param path canonical, below the prefix, beginning with a slash */
export function match(endpoints: readonly Endpoint[], method: string, path: string): Match {
  const words = path.split('/').slice(1);
  const fitting = endpoints
    .filter(({ segments }) => segments.length === words.length)
    .map(endpoint => ({ endpoint, parameters: parametersOf(endpoint, words) }))
    .filter(found => found.parameters !== null)
    .sort((one, other) => Object.keys(one.parameters!).length - Object.keys(other.parameters!).length);
  const found = fitting.find(({ endpoint }) => endpoint.method === method);
  if (found) return { type: 'endpoint', endpoint: found.endpoint, parameters: found.parameters! };
  if (fitting.length === 0) return { type: 'none' };
  return { type: 'other-method', allow: [...new Set(fitting.map(({ endpoint }) => endpoint.method))] };
}

function parametersOf({ segments }: Endpoint, words: readonly string[]): Record<string, string> | null {
  const parameters: Record<string, string> = {};
  for (const [index, segment] of segments.entries()) {
    const word = decode(words[index]!);
    if (word === null) return null;
    if (segment.type === 'literal' ? segment.text !== word : word === '') return null;
    if (segment.type === 'parameter') parameters[segment.name] = word;
  }
  return parameters;
}

function decode(word: string): string | null {
  try {
    return decodeURIComponent(word);
  } catch {
    return null; // no such path
  }
}
