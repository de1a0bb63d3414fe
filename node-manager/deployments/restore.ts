/**
 * The edit of the settings by which an instance becomes again what it was: only its own entry, or the version of the host package, is
 * changed; the rest of the text and its comments stay. Versions are pinned, so that "the newest" does not mean again what was just
 * found to be bad. Applied twice it changes nothing. Pure.
 */
import { applyEdits, modify, parse, type JSONPath } from 'jsonc-parser';
import type { ClusterSettingsDocument } from '#core';
import { differences } from './differences.ts';
import type { Target } from './model.ts';

type Entry = Readonly<Record<string, unknown>>;

/** @param hostPackageName the package that hosts start from */
export function restoredSettings(
  text: string,
  good: Target,
  target: Target,
  hostPackageName: string,
): string {
  let edited = text;
  const { revision } = good;
  const { id, packageName } = revision.instance;
  // What the settings leave to "the newest" is pinned even where the versions are the same again.
  for (const difference of differences(good, target)) {
    switch (difference.kind) {
      case 'package':
        setInEntry('packageVersion', revision.packageVersion);
        break;
      case 'host':
        if (revision.hostVersion !== null)
          edited = withHostVersion(edited, hostPackageName, revision.hostVersion);
        break;
      case 'entry':
        restoreKey(difference.key);
        break;
      case 'publisher':
      case 'restart':
        break;
    }
  }
  const present = entryOf(edited)?.entry.messagePublisher;
  if (
    present &&
    revision.publisherVersion !== null &&
    revision.publisherVersion !== target.revision.publisherVersion
  ) {
    setInEntry('messagePublisher', { ...(present as object), packageVersion: revision.publisherVersion });
  }
  return edited;

  function entryOf(of: string): { index: number; entry: Entry } | null {
    const entries = read(of).componentInstances ?? [];
    const index = entries.findIndex(entry => entry.id === id);
    return index === -1 ? null : { index, entry: entries[index]! };
  }

  function restoreKey(key: string): void {
    const before = good.entry?.[key];
    const now = entryOf(edited)?.entry[key];
    if (!isRecord(before) || !isRecord(now)) return setInEntry(key, before);
    for (const name of new Set([...Object.keys(before), ...Object.keys(now)])) {
      if (JSON.stringify(before[name]) !== JSON.stringify(now[name])) setInEntry([key, name], before[name]);
    }
  }

  function setInEntry(key: string | string[], value: unknown): void {
    const found = entryOf(edited);
    if (found) edited = set(edited, ['componentInstances', found.index, ...[key].flat()], value);
    // An instance that nobody declared, like the router, is declared to be pinned.
    else if (value !== undefined)
      edited = append(edited, 'componentInstances', { id, packageName, instances: 1, [String(key)]: value });
  }
}

/** Sets the version of an instance, which is declared for it if it was only implied. */
export function pinnedInstance(
  text: string,
  { id, packageName, packageVersion }: { id: string; packageName: string; packageVersion: string },
): string {
  const found = (read(text).componentInstances ?? []).findIndex(entry => entry.id === id);
  return found === -1
    ? append(text, 'componentInstances', { id, packageName, packageVersion, instances: 1 })
    : set(text, ['componentInstances', found, 'packageVersion'], packageVersion);
}

/** The host package that hosts start from, and no other version of it. */
export function withHostVersion(text: string, name: string, version: string): string {
  const listed = (read(text).nodePackages ?? []).map((reference, index) => ({ ...reference, index }));
  const ofHost = listed.filter(reference => reference.name === name);
  const right = ofHost.find(reference => reference.version === version);
  if (!right && ofHost.length === 0) return append(text, 'nodePackages', { name, version });
  let edited = text;
  const keep = right ?? ofHost[0]!;
  if (!right) {
    edited = set(edited, ['nodePackages', keep.index, 'version'], version);
    // Its file is of the other version; the bytes of this one are in the catalog.
    edited = set(edited, ['nodePackages', keep.index, 'packagePath'], undefined);
  }
  for (const { index } of ofHost.reverse()) {
    if (index !== keep.index) edited = set(edited, ['nodePackages', index], undefined);
  }
  return edited;
}

function append(text: string, list: 'componentInstances' | 'nodePackages', item: object): string {
  const present = read(text)[list];
  return present ? set(text, [list, present.length], item) : set(text, [list], [item]);
}

function set(text: string, path: JSONPath, value: unknown): string {
  return applyEdits(
    text,
    modify(text, path, value, { formattingOptions: { insertSpaces: true, tabSize: 2 } }),
  );
}

function read(text: string): ClusterSettingsDocument {
  return parse(text, [], { allowTrailingComma: true }) as ClusterSettingsDocument;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
