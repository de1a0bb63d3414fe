/**
 * What differs between two settings documents, value by value. Nodes, instances, routes and packages are matched by their names, so that
 * one that was put in at the front changes nothing but itself; their order, comments and layout are no difference. Secrets
 * are hidden, and still told apart. Pure.
 */
import { canonicalJson } from '../canonical-json.ts';
import { redactSettings } from '../redaction.ts';
import { jsonPath } from '../problems.ts';
import { parseJsonText } from './json-text.ts';

/** `before` is absent where something was added, `after` where it was removed. */
export interface SettingsChange {
  /** JSON path; items of the matched lists are named: `$.componentInstances.databases.instances`. */
  path: string;
  before?: unknown;
  after?: unknown;
}

export interface DocumentChange {
  at: readonly string[];
  before: unknown;
  after: unknown;
}

/** The field that names an item, for each list whose items are matched by it. */
export const NAMED_LISTS: Readonly<Record<string, string>> = {
  nodeServers: 'networkName',
  componentInstances: 'id',
  routes: 'pathPrefix',
  nodePackages: 'name',
  componentPackages: 'name',
};

/** Both must be settings documents as text, valid JSON with or without comments. */
export function diffSettings(from: string, to: string): SettingsChange[] {
  return documentChanges(parseJsonText(from).document, parseJsonText(to).document).map(shown);
}

/** Every value that differs, secrets too; `undefined` stands for what is not there. */
export function documentChanges(before: unknown, after: unknown): DocumentChange[] {
  return changesAt([], before, after);
}

function changesAt(at: readonly string[], before: unknown, after: unknown): DocumentChange[] {
  if (same(before, after)) return [];
  const named = at.length === 1 ? NAMED_LISTS[at[0]!] : undefined;
  const [left, right] = [namedItems(before, named), namedItems(after, named)];
  if (!left || !right) return [{ at, before, after }];
  const names = new Set([...left.keys(), ...right.keys()]);
  return [...names].flatMap(name => changesAt([...at, name], left.get(name), right.get(name)));
}

/** The values of an object, or the items of a list that are told apart by a field; null for anything else. */
function namedItems(value: unknown, field: string | undefined): Map<string, unknown> | null {
  if (typeof value !== 'object' || value === null) return null;
  if (!Array.isArray(value)) return new Map(Object.entries(value));
  if (field === undefined) return null;
  const items = new Map<string, unknown>();
  for (const item of value as unknown[]) {
    const name = (item as Record<string, unknown> | null)?.[field];
    if (typeof name !== 'string' || items.has(name)) return null;
    items.set(name, item);
  }
  return items;
}

function same(before: unknown, after: unknown): boolean {
  if (before === undefined || after === undefined) return before === after;
  return canonicalJson(before) === canonicalJson(after);
}

function shown({ at, before, after }: DocumentChange): SettingsChange {
  return {
    path: jsonPath([...at]),
    ...(before === undefined ? {} : { before: hideSecrets(at, before) }),
    ...(after === undefined ? {} : { after: hideSecrets(at, after) }),
  };
}

/** Under the names that stand above it, because those tell what is a secret. What an item of a list is called does not. */
function hideSecrets(at: readonly string[], value: unknown): unknown {
  const names = at.filter((_, index) => index !== 1 || NAMED_LISTS[at[0]!] === undefined);
  let wrapped = value;
  for (const name of names.toReversed()) wrapped = { [name]: wrapped };
  let visible = names.length === 0 ? wrapped : redactSettings(wrapped as Record<string, unknown>);
  for (const name of names) {
    const inner: unknown = (visible as Record<string, unknown>)[name];
    if (typeof inner !== 'object' || inner === null) return inner;
    visible = inner as Record<string, unknown>;
  }
  return visible;
}
