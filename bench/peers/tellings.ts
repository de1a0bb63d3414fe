/** Hears the datagrams of `../component/app.js`: which process listens, and when that was heard. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';

export interface Tellings {
  port: number;
  /** Pids that told since the last `forget`, and when. */
  heard: ReadonlyMap<number, number>;
  forget(): void;
  /** Resolves to the time at which so many had told since the last `forget`. @throws after a minute */
  count(wanted: number): Promise<number>;
  close(): void;
}

const patienceMs = 60_000;

export async function hearTellings(): Promise<Tellings> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const heard = new Map<number, number>();
  let check = () => {};
  socket.on('message', message => {
    heard.set(Number(message.toString()), performance.now());
    check();
  });
  return {
    port: socket.address().port,
    heard,
    forget: () => heard.clear(),
    count: wanted =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Error(`${heard.size} of ${wanted} told in time`)),
          patienceMs,
        );
        check = () => {
          if (heard.size < wanted) return;
          clearTimeout(timer);
          check = () => {};
          resolve([...heard.values()][wanted - 1]!);
        };
        check();
      }),
    close: () => void socket.close(),
  };
}
