/**
 * The host's own log: JSON lines in `<hostDirectory>/host.log`, written synchronously so that a killed process loses
 * none. Secrets are hidden by name before anything is written.
 */
import { join } from 'node:path';
import pino, { type Logger as PinoLogger } from 'pino';
import { redact } from '#core';

export type HostLogger = PinoLogger;

export interface HostLogOptions {
  directory: string;
  level: string;
  processId: string;
}

/** `close` flushes and gives the file back. */
export function openHostLog({ directory, level, processId }: HostLogOptions): {
  log: HostLogger;
  close(): void;
} {
  const destination = pino.destination({
    dest: join(directory, 'host.log'),
    sync: true,
    mkdir: true,
    mode: 0o600,
  });
  let closed = false;
  // A full disk costs log lines; it must not cost the host.
  destination.on('error', () => {});
  const log = pino(
    {
      level,
      base: { processId },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: {
        level: label => ({ level: label }),
        log: facts => redact(facts) as Record<string, unknown>,
      },
    },
    {
      write(line: string) {
        if (!closed) destination.write(line); // what a stopped component still has to say is dropped
      },
    },
  );
  return {
    log,
    close() {
      closed = true;
      destination.end();
    },
  };
}
