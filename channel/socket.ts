/** Channels over Unix sockets: the listening and the connecting end. */
import { chmod, rm } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { HoldfastError } from '#core';
import { createChannel, type Channel } from './channel.ts';

/**
 * Listens on a Unix socket (0600) and hands over each connection as a channel; the callback registers handlers and
 * calls `listen`. Replaces a socket file that nobody listens on.
 * @throws HoldfastError HF_ALREADY_RUNNING when somebody does
 */
export async function listenForChannels(
  path: string,
  onChannel: (channel: Channel) => void,
): Promise<{ close(): Promise<void> }> {
  if (await answers(path)) {
    throw new HoldfastError('HF_ALREADY_RUNNING', `another process listens on ${path}`);
  }
  await rm(path, { force: true });
  const channels = new Set<Channel>();
  const server = createServer(socket => {
    const channel = createChannel(socket);
    channels.add(channel);
    void channel.closed.then(() => channels.delete(channel));
    onChannel(channel);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  await chmod(path, 0o600);
  return {
    async close() {
      const closed = new Promise<void>(resolve => server.close(() => resolve()));
      for (const channel of channels) channel.close();
      await closed;
    },
  };
}

/** @throws HoldfastError HF_COORDINATION_UNAVAILABLE when nobody listens there */
export function connectChannel(path: string): Promise<Channel> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('error', cause => {
      reject(new HoldfastError('HF_COORDINATION_UNAVAILABLE', `cannot connect to ${path}`, { cause }));
    });
    socket.once('connect', () => {
      socket.removeAllListeners('error');
      resolve(createChannel(socket));
    });
  });
}

function answers(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const probe = connect(path);
    probe.once('error', () => resolve(false));
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
  });
}
