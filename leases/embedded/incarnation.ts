/**
 * The incarnation of an embedded store: under which boot of the machine it was last written, and the last fence that
 * it gave out. Held in the table `meta`, written in the same transaction as what the fences were given for.
 *
 * Why fences never go back:
 * - A killed process loses nothing: in WAL mode a commit is in the page cache, and the kernel outlives the process.
 * - A power cut may lose the last commits (synchronous=NORMAL syncs at checkpoints only), and with them fences that
 *   somebody has seen. It also changes the boot id, and then the counter jumps by `REBOOT_MARGIN`, which is more than can be
 *   given out between two syncs. Time on the boot clock has no meaning any more then: every lease and session has ended.
 * - A store that is lost altogether (corrupt, set aside) goes on at `fenceEpoch`: the nanoseconds since 1970. Counters
 *   start at 0 and grow by less than one fence a nanosecond and one margin (a second) a boot, so that they stay below it.
 *   This is the one place that trusts the wall clock: a clock set back *before* a loss could make fences regress.
 */
import { readFileSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import type { Fence } from '#core';

/** By how much the counter jumps when the machine was started anew. */
export const REBOOT_MARGIN = 1_000_000_000n;

/** The first fence of a store that follows one whose counter is unknown. */
export function fenceEpoch(wallMs: number): Fence {
  return (BigInt(Math.floor(wallMs)) * 1_000_000n) as Fence;
}

/** Names this boot of the machine; the same text for every process until the next boot. */
export function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    // Not Linux (macOS, development only): restarts of the machine go unnoticed, and leases end by their time alone.
    return 'unknown-boot';
  }
}

/**
 * Creates or adopts the table `meta`. Call inside a transaction, before reading anything that holds boot times.
 * `firstFence` is the last fence of a store that did not exist yet: 0, or `fenceEpoch`.
 */
export function adoptIncarnation(
  database: DatabaseSync,
  boot: { bootId: string; firstFence: bigint },
): { rebooted: boolean; lastFence: bigint } {
  database.exec('CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID');
  const read = database.prepare('SELECT value FROM meta WHERE name = ?');
  read.setReadBigInts(true);
  const write = database.prepare('INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)');
  const storedBoot = read.get('boot')?.['value'];
  const storedFence = read.get('fence')?.['value'];
  const known = typeof storedFence === 'bigint';
  const rebooted = known && storedBoot !== boot.bootId;
  const base = known ? storedFence : boot.firstFence;
  const lastFence = rebooted ? base + REBOOT_MARGIN : base;
  write.run('fence', lastFence);
  write.run('boot', boot.bootId);
  return { rebooted, lastFence };
}
