/**
 * The settings of a backup as they shall hold in the cluster that restores them: its own name, store and (unless told otherwise) nodes, everything
 * else, comments too, as in the backup. Doing it again yields the same text. Pure.
 */
import { applyEdits, modify, parse } from 'jsonc-parser';

export function restoredSettings(backup: string, present: string, options: { withNodes: boolean }): string {
  const here = parse(present, [], { allowTrailingComma: true }) as Record<string, unknown>;
  const there = parse(backup, [], { allowTrailingComma: true }) as Record<string, unknown>;
  const kept = ['clusterName', 'coordination', ...(options.withNodes ? [] : ['nodeServers'])];
  let text = backup;
  for (const name of kept) {
    if (JSON.stringify(here[name]) === JSON.stringify(there[name])) continue;
    const formattingOptions = { insertSpaces: true, tabSize: 2 };
    text = applyEdits(text, modify(text, [name], here[name], { formattingOptions }));
  }
  return text;
}
