/**
 * A connection's shell: moves bytes between a socket and its `Link`. All frames of one turn of the event loop go out in one
 * write, and while the system takes no more, nothing is put into its queue but what is small.
 */
import type { Socket } from 'node:net';
import type { Link } from './link.ts';

/** What may wait in the socket before bodies stop. */
const queuedBytesMax = 256 * 1024;
/** How long the last frames of a connection may take to get out. */
const lastWordsMs = 1_000;
const keepAliveMs = 30_000;

export interface SocketPorts {
  schedule: () => void;
  close: (problem: string | null) => void;
  /** The link, once it is there. */
  attach(link: Link, already: Buffer): void;
}

export function overSocket(socket: Socket): SocketPorts {
  let link: Link | null = null;
  let closing: string | null | undefined;

  function flush(): void {
    if (!link || link.closed) return;
    if (socket.destroyed) return;
    const parts = link.take();
    if (parts.length === 1) {
      socket.write(parts[0]!);
    } else if (parts.length > 1) {
      socket.cork();
      for (const part of parts) socket.write(part);
      socket.uncork();
    }
    const queued = socket.writableLength;
    if (queued === 0) link.writer.recycle();
    else if (queued > queuedBytesMax) link.congest();
    if (closing !== undefined) end();
  }

  function end(): void {
    socket.setTimeout(lastWordsMs, () => socket.destroy());
    socket.end(() => socket.destroySoon());
  }

  return {
    schedule: () => void setImmediate(flush),
    close(problem) {
      if (closing !== undefined) return;
      closing = problem;
      // After what is being handled, which may put more into the link; then its last words go out.
      setImmediate(() => {
        flush();
        if (!socket.destroyed) end();
        if (problem !== null) link?.ended(problem);
      });
    },
    attach(attached, already) {
      link = attached;
      socket.setNoDelay(true);
      socket.setKeepAlive(true, keepAliveMs);
      socket.setTimeout(0);
      let failure = 'the connection ended';
      socket.on('data', chunk => attached.receive(chunk as Buffer));
      socket.on('drain', () => {
        attached.drained();
      });
      socket.on('error', error => (failure = `the connection broke: ${error.message}`));
      socket.on('end', () => socket.destroy());
      socket.on('close', () => attached.ended(closing ?? failure));
      if (already.length > 0) attached.receive(already);
      if (socket.destroyed) attached.ended(failure);
    },
  };
}
