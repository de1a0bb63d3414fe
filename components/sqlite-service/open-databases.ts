/**
 * The files that a SQL process holds open, the least recently used closed first when they get too many. Closing one is
 * never seen from outside: the next request opens it again, and checks the fence as every request does.
 */
import { existsSync } from 'node:fs';
import { openConnection, type Connection } from './connection.ts';
import { ServiceError } from './service-error.ts';

export interface OpenDatabases {
  /** @throws HF_STATE_MISSING when the file is gone */
  get(path: string): Connection;
  /** Closes the file if it is open; the last one to close it moves its log into it. */
  close(path: string): void;
  closeAll(): void;
}

export function createOpenDatabases(options: { openDatabases: number; maxBytes: number }): OpenDatabases {
  const open = new Map<string, Connection>(); // in order of use

  function close(path: string): void {
    const connection = open.get(path);
    open.delete(path);
    connection?.database.close();
  }

  return {
    get(path) {
      let connection = open.get(path);
      if (connection) {
        open.delete(path);
      } else {
        if (!existsSync(path)) {
          throw new ServiceError(
            'HF_STATE_MISSING',
            'the key had an owner before, but its database file is not on this machine',
            { path },
          );
        }
        const [oldest] = open.keys();
        if (oldest !== undefined && open.size >= options.openDatabases) close(oldest);
        connection = openConnection(path, options);
      }
      open.set(path, connection);
      return connection;
    },
    close,
    closeAll() {
      for (const path of open.keys()) close(path);
    },
  };
}
