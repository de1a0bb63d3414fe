/**
 * One keep-alive connection of the load: sends a request, reads the whole response by its length or its chunks, and says what came.
 * Written on sockets, because a client library would take more of the machine than what is measured. One request at a time.
 */
import { connect, type Socket } from 'node:net';

const patienceMs = 60_000;

export interface Reply {
  /** 0: the connection broke before the response was complete. */
  status: number;
  body: string;
  error: string;
}

export interface Connection {
  /** Never rejects: what broke is told by status 0. Opens a new connection when the last one was closed. */
  ask(request: string): Promise<Reply>;
  close(): void;
}

export function createConnection(port: number): Connection {
  let socket: Socket | null = null;
  let received = '';
  let settle: ((reply: Reply) => void) | null = null;

  function finish(reply: Reply): void {
    const resolve = settle;
    settle = null;
    received = '';
    resolve?.(reply);
  }

  function broken(from: Socket, error: string): void {
    if (socket !== from) return;
    socket = null;
    finish({ status: 0, body: '', error });
  }

  function open(): Socket {
    const made = connect({ port, host: '127.0.0.1', noDelay: true });
    made.setEncoding('latin1');
    made.on('data', (text: string) => {
      if (socket !== made || !settle) return;
      received += text;
      const parsed = parse(received);
      if (!parsed) return;
      if (parsed.closes) {
        socket = null;
        made.destroy();
      }
      finish({ status: parsed.status, body: parsed.body, error: '' });
    });
    made.on('error', error => broken(made, error.message));
    made.setTimeout(patienceMs, () => {
      broken(made, `no answer within ${patienceMs} ms`);
      made.destroy();
    });
    made.on('close', () => broken(made, 'closed before the response was complete'));
    return made;
  }

  return {
    ask(request) {
      return new Promise(resolve => {
        settle = resolve;
        socket ??= open();
        socket.write(request, 'latin1');
      });
    },
    close() {
      const last = socket;
      socket = null;
      last?.destroy();
    },
  };
}

/** The response when it is complete; null when there is more to come. */
function parse(text: string): { status: number; body: string; closes: boolean } | null {
  const headEnd = text.indexOf('\r\n\r\n');
  if (headEnd < 0) return null;
  const head = text.slice(0, headEnd).toLowerCase();
  const status = Number(head.slice(9, 12));
  const closes = head.includes('\r\nconnection: close');
  const start = headEnd + 4;
  const length = /\r\ncontent-length: *(\d+)/.exec(head);
  if (length) {
    const end = start + Number(length[1]);
    return text.length < end ? null : { status, body: text.slice(start, end), closes };
  }
  if (!head.includes('\r\ntransfer-encoding: chunked')) return null; // its end is that of the connection, which counts as broken
  let body = '';
  for (let at = start; ;) {
    const lineEnd = text.indexOf('\r\n', at);
    if (lineEnd < 0) return null;
    const size = Number.parseInt(text.slice(at, lineEnd), 16);
    const next = lineEnd + 2 + size + 2;
    if (text.length < next) return null;
    if (size === 0) return { status, body, closes };
    body += text.slice(lineEnd + 2, lineEnd + 2 + size);
    at = next;
  }
}
