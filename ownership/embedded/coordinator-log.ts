/**
 * The coordinator's log file: one JSON object a line, appended at once, so that nothing is lost when the process is killed.
 * One generation is kept. It logs state changes only, never requests.
 */
import { appendFileSync, chmodSync, renameSync, statSync } from 'node:fs';
import { isoTime, type Clock, type Logger } from '#core';

const bytesMax = 4 * 1024 * 1024;

export function openCoordinatorLog(path: string, clock: Clock): Logger {
  try {
    if (statSync(path).size > bytesMax) renameSync(path, `${path}.1`);
  } catch {
    // It is not there yet.
  }
  appendFileSync(path, '', { mode: 0o600 });
  chmodSync(path, 0o600);
  const write = (level: string) => (facts: object, text: string) => {
    try {
      appendFileSync(path, `${JSON.stringify({ level, time: isoTime(clock), ...facts, msg: text })}\n`);
    } catch {
      // A full disk must not end the coordinator; what it cannot say in the log it says by its exit code.
    }
  };
  return { debug: () => {}, info: write('info'), warn: write('warn'), error: write('error') };
}
