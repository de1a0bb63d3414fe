/**
 * What one revision has that another has not: told to people, and undone where a deployment goes back. Pure.
 */
import { canonicalJson } from '#core';
import type { Target } from './model.ts';

/** `host`: the version of the host package, which all instances share. `entry`: what the author of the settings wrote for the instance. */
export type Difference =
  | { kind: 'package' | 'publisher' | 'host'; from: string | null; to: string | null }
  | { kind: 'entry'; key: string }
  | { kind: 'restart' };

/**
 * The keys of an instance's entry that its copies are made of. The others — how many copies, where, how they roll — change without a
 * deployment, and are left as they are when one goes back. The versions of packages are differences of their own.
 */
export const ENTRY_KEYS = [
  'packageName',
  'settings',
  'messagePublisher',
  'resources',
  'restart',
  'health',
  'env',
  'concurrency',
  'idleMs',
  'onAuthorityLoss',
  'ports',
] as const;

const wordsMax = 20;

export function differences(from: Target, to: Target): Difference[] {
  const found: Difference[] = [];
  const [before, after] = [from.revision, to.revision];
  if (before.packageVersion !== after.packageVersion)
    found.push({ kind: 'package', from: before.packageVersion, to: after.packageVersion });
  if (before.publisherVersion !== after.publisherVersion)
    found.push({ kind: 'publisher', from: before.publisherVersion, to: after.publisherVersion });
  if (before.hostVersion !== after.hostVersion)
    found.push({ kind: 'host', from: before.hostVersion, to: after.hostVersion });
  for (const key of ENTRY_KEYS) {
    if (!same(shown(before.instance, key), shown(after.instance, key))) found.push({ kind: 'entry', key });
  }
  if (before.restart !== after.restart) found.push({ kind: 'restart' });
  return found;
}

/** Whether an edit of the settings can bring back what was before. A restart alone is of the same version and the same settings. */
export function canGoBack(from: Target, to: Target): boolean {
  return differences(from, to).some(difference => difference.kind !== 'restart');
}

/** For people. Values of settings are left out: they may be long, or nobody's business. */
export function changesInWords(from: Target, to: Target): string[] {
  const words = differences(from, to).flatMap(difference => {
    switch (difference.kind) {
      case 'package':
        return [`${to.revision.instance.packageName} ${difference.from} → ${difference.to}`];
      case 'publisher':
        return [
          `${to.revision.instance.messagePublisher?.packageName ?? 'publisher'} ${difference.from ?? 'none'} → ${difference.to ?? 'none'}`,
        ];
      case 'host':
        return [
          `host package ${difference.from ?? 'of each node’s choice'} → ${difference.to ?? 'of each node’s choice'}`,
        ];
      case 'restart':
        return ['a restart was asked for'];
      case 'entry':
        return keysInWords(difference.key, from.revision.instance, to.revision.instance);
    }
  });
  if (words.length === 0) return ['settings that all instances share'];
  return words.length <= wordsMax
    ? words
    : [...words.slice(0, wordsMax), `and ${words.length - wordsMax} more`];
}

/** Names the settings themselves where the entry holds settings. */
function keysInWords(key: string, before: object, after: object): string[] {
  const [a, b] = [shown(before, key), shown(after, key)];
  if (!isRecord(a) || !isRecord(b)) return [`${key} changed`];
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].sort().flatMap(name => {
    if (same(a[name], b[name])) return [];
    return [`${key}.${name} ${name in a ? (name in b ? 'changed' : 'removed') : 'added'}`];
  });
}

/** The publisher's version is a difference of its own, and the weight of a copy only concerns where it is placed. */
function shown(instance: object, key: string): unknown {
  const value = (instance as Record<string, unknown>)[key];
  if (!isRecord(value)) return value;
  if (key === 'messagePublisher') return { ...value, packageVersion: null };
  if (key === 'resources') return { ...value, weight: null };
  return value;
}

function same(a: unknown, b: unknown): boolean {
  return canonicalJson(a ?? null) === canonicalJson(b ?? null);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
