/**
 * LISTEN as the hint of `watch`: while somebody watches, one connection of the pool waits for the names that NOTIFY tells. It is a
 * hint and no more: a connection that is lost, that nobody gets, or that a pooler in between has made deaf, is covered by polling.
 */
import type { System } from '#core';
import type { WatchHint } from '../watch.ts';
import type { Connection, PostgresClient, PostgresNotification } from './connection.ts';

const pauseMs = { first: 200, max: 5_000 };

/** `close` ends the listening; afterwards hints do nothing. */
export function createNotifications(ports: { connection: Connection; channel: string; system: System }): {
  hint: WatchHint;
  close(): void;
} {
  const { connection, channel, system } = ports;
  const lookers = new Map<string, Set<() => void>>();
  let client: PostgresClient | null = null;
  let connecting = false;
  let closed = false;
  let failures = 0;

  const onNotification = ({ channel: from, payload }: PostgresNotification) => {
    if (from === channel && payload !== undefined) for (const look of lookers.get(payload) ?? []) look();
  };
  const onLost = () => {
    drop();
    reconnectLater();
  };

  function drop(): void {
    const dropped = client;
    client = null;
    if (!dropped) return;
    dropped.off('notification', onNotification);
    dropped.off('end', onLost);
    dropped.release(true);
  }

  function reconnectLater(): void {
    if (closed || lookers.size === 0) return;
    const ms = Math.min(pauseMs.first * 2 ** failures++, pauseMs.max);
    system.timers.after(ms * (0.75 + system.random.fraction() / 2), () => void listen());
  }

  async function listen(): Promise<void> {
    if (closed || connecting || client || lookers.size === 0) return;
    connecting = true;
    try {
      const taken = await connection.take();
      client = taken;
      taken.on('notification', onNotification);
      taken.on('end', onLost);
      await taken.query(`LISTEN "${channel}"`, []);
      failures = 0;
      // What was told before is lost.
      for (const looks of lookers.values()) for (const look of looks) look();
    } catch {
      drop();
      reconnectLater(); // polling goes on meanwhile
    } finally {
      connecting = false;
    }
    if (closed || lookers.size === 0) drop();
  }

  return {
    hint(name, look) {
      const looks = lookers.get(name) ?? new Set();
      lookers.set(name, looks.add(look));
      void listen();
      return () => {
        looks.delete(look);
        if (looks.size === 0 && lookers.get(name) === looks) lookers.delete(name);
        if (lookers.size === 0 && !connecting) drop();
      };
    },
    close() {
      closed = true;
      lookers.clear();
      if (!connecting) drop();
    },
  };
}
