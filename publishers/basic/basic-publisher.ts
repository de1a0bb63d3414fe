/**
 * A publisher without a broker: one line of JSON for each message, to the log and to a file. All instances with one id
 * share the file on a machine, so a line is a single appending write, which the kernel does not mix with others.
 *
 * stopped ──start──▶ started ──stop──▶ stopped; started ──a write fails halfway──▶ failed ──stop──▶ stopped
 */
import { mkdir, open, type FileHandle } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Message, MessagePublisher, PublisherContext } from '#core';

type State =
  | { name: 'stopped' }
  | { name: 'started'; file: FileHandle | null }
  | { name: 'failed'; file: FileHandle | null };

export function createBasicPublisher(context: PublisherContext): MessagePublisher {
  const { settings, log, dataDirectory } = context;
  let state: State = { name: 'stopped' };
  const writing = new Set<Promise<void>>();

  async function append(file: FileHandle, line: string): Promise<void> {
    const bytes = Buffer.from(line);
    const { bytesWritten } = await file.write(bytes);
    if (bytesWritten !== bytes.length) {
      // A torn line would swallow the next message: nothing more is written until somebody has looked (a full disk).
      if (state.name === 'started') state = { ...state, name: 'failed' };
      throw failure('HF_CAPACITY', 503, `only ${bytesWritten} of ${bytes.length} bytes could be written`);
    }
    if (settings.sync !== false) await file.datasync();
  }

  return {
    name: context.name,
    instanceId: context.instanceId,
    get state() {
      return state.name;
    },
    async start() {
      if (state.name !== 'stopped') return;
      let file: FileHandle | null = null;
      if (typeof settings.file === 'string') {
        const path = resolve(dataDirectory, settings.file);
        await mkdir(dirname(path), { recursive: true, mode: 0o700 });
        file = await open(path, 'a', 0o600);
      }
      state = { name: 'started', file };
    },
    async stop() {
      if (state.name === 'stopped') return;
      const { file } = state;
      state = { name: 'stopped' };
      await Promise.allSettled(writing);
      await file?.close();
    },
    async publish(message: Message) {
      if (state.name !== 'started') {
        throw failure('HF_WRONG_STATE', 409, `the publisher is ${state.name}`);
      }
      if (state.file) {
        const write = append(state.file, `${JSON.stringify(message)}\n`);
        writing.add(write);
        try {
          await write;
        } finally {
          writing.delete(write);
        }
      }
      if (settings.log !== false) log.info({ published: message }, 'message published');
    },
  };
}

/** An error in Holdfast's vocabulary: name and code are what counts. */
function failure(code: string, statusCode: number, message: string): Error {
  return Object.assign(new Error(message), { name: 'HoldfastError', code, statusCode, details: {} });
}
