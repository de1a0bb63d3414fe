/** What a command works with besides its words. */
import type { System } from '#core';
import type { Interruptions } from './interruption.ts';

/** What commands may touch; tests give their own. */
export interface Environment {
  system: System;
  interruptions: Interruptions;
  cwd: string;
  stdout: { write(text: string): unknown; isTTY?: boolean };
  stderr: { write(text: string): unknown; isTTY?: boolean };
}
