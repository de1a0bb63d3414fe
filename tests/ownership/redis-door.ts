/** A port that leads to another one, until told otherwise: the address that stays when the server behind it changes, and a network that fails. */
import { once } from 'node:events';
import { createConnection, createServer, type AddressInfo, type Socket } from 'node:net';

export interface Door {
  readonly port: number;
  /** Cuts everybody off, and leads to this port from now on. */
  leadTo(port: number): void;
  /** Whoever is answered next is cut off instead: what they asked was done, and they do not know. Resolves when that has happened. */
  loseNextAnswer(): Promise<void>;
  close(): Promise<void>;
}

export async function openDoor(first: number): Promise<Door> {
  let target = first;
  let lose: (() => void) | null = null;
  const sockets = new Set<Socket>();
  const server = createServer(near => {
    const far = createConnection({ port: target, host: '127.0.0.1' });
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => {}); // its end says all
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    near.pipe(far);
    far.on('data', (answer: Buffer) => {
      if (!lose) return near.write(answer);
      near.destroy();
      lose();
      lose = null;
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    leadTo(port) {
      target = port;
      for (const socket of sockets) socket.destroy();
    },
    loseNextAnswer: () => new Promise<void>(resolve => (lose = resolve)),
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
