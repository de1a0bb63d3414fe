/**
 * Tells processes of this machine that there is something for a subject: a file for each subject that somebody consumes, whose times are
 * touched, and which consumers watch. A hint and no more: one that is lost costs until the next look.
 */
import { mkdirSync, utimesSync, watch, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { System } from '#core';

export interface Bells {
  ring(subject: string): void;
  /** The result ends it. */
  listen(subject: string, onRing: () => void): () => void;
}

export function createBells(directory: string, system: System): Bells {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  return {
    ring(subject) {
      const seconds = system.clock.wallMs() / 1000;
      try {
        utimesSync(join(directory, subject), seconds, seconds);
      } catch {
        // Nobody has ever listened; or the file cannot be touched, and consumers find it at their next look.
      }
    },
    listen(subject, onRing) {
      const file = join(directory, subject);
      writeFileSync(file, '', { flag: 'a', mode: 0o600 });
      const watcher = watch(file, { persistent: false }, onRing);
      watcher.on('error', () => {}); // consumers look from time to time all the same
      return () => watcher.close();
    },
  };
}
