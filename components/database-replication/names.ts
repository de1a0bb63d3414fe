/** What a replication calls its things in the databases, and how SQL names are quoted. Names are made from the setting `name` alone. */

export const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** `schema.table` or `table`, each part quoted. A dot inside a name cannot be expressed, and is refused by the settings. */
export const quoteTable = (table: string): string => table.split('.').map(quote).join('.');

/** In PostgreSQL as a source. A slot carries the fence of the owner that made it, so that an older owner never drops a newer one's. */
export const publicationName = (name: string): string => `holdfast_${name}`;
export const slotName = (name: string, fence: bigint): string => `holdfast_${name}_${fence}`;

/** The fence in a slot's name; null if the slot is not one of this replication. */
export function slotFence(name: string, slot: string): bigint | null {
  const prefix = `holdfast_${name}_`;
  const digits = slot.startsWith(prefix) ? slot.slice(prefix.length) : '';
  return /^[0-9]{1,19}$/.test(digits) ? BigInt(digits) : null;
}

/** In SQLite as a source: all begin like this. */
export const changeTable = (name: string): string => `_holdfast_${name}_changes`;
export const logTable = (name: string): string => `_holdfast_${name}_log`;
export const sourceFenceTable = (name: string): string => `_holdfast_${name}_source_fence`;
export const triggerPrefix = (name: string): string => `_holdfast_${name}_on_`;

/** In SQLite as a target. */
export const targetFenceTable = (name: string): string => `_holdfast_${name}_target_fence`;
