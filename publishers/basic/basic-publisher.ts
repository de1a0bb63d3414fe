/**
 * A publisher without a broker: one line of JSON for each message, to the log and to a file. All instances with one id
 * share the file on a machine, so a line is a single appending write, which the kernel does not mix with others.
 *
 * stopped ──start──▶ started ──stop──▶ stopped; started ──a write fails halfway──▶ failed ──stop──▶ stopped
 */
import { resolve } from 'node:path';
import type { Message, MessagePublisher, PublisherContext } from '#core';
import { openRotatingFile, type RotatingFile, type Rotation } from './rotating-file.ts';

type State =
  | { name: 'stopped' }
  | { name: 'started'; file: RotatingFile | null }
  | { name: 'failed'; file: RotatingFile | null };

export function createBasicPublisher(context: PublisherContext): MessagePublisher {
  const { settings, log, dataDirectory } = context;
  let state: State = { name: 'stopped' };
  const writing = new Set<Promise<void>>();

  async function append(file: RotatingFile, line: string): Promise<void> {
    const bytes = Buffer.from(line);
    const bytesWritten = await file.append(bytes, settings.sync !== false);
    if (bytesWritten !== bytes.length) {
      // A torn line would swallow the next message: nothing more is written until somebody has looked (a full disk).
      if (state.name === 'started') state = { ...state, name: 'failed' };
      throw failure('HF_CAPACITY', 503, `only ${bytesWritten} of ${bytes.length} bytes could be written`);
    }
  }

  return {
    name: context.name,
    instanceId: context.instanceId,
    get state() {
      return state.name;
    },
    async start() {
      if (state.name !== 'stopped') return;
      let file: RotatingFile | null = null;
      if (typeof settings.file === 'string') {
        const rotation = (settings.rotate as unknown as Rotation | undefined) ?? null;
        file = await openRotatingFile(resolve(dataDirectory, settings.file), rotation);
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
        const write = append(state.file, `${JSON.stringify(asJson(message))}\n`);
        writing.add(write);
        try {
          await write;
        } finally {
          writing.delete(write);
        }
      }
      if (settings.log !== false) log.info({ published: asJson(message) }, 'message published');
    },
  };
}

/** Binary content as base64, under the same name. */
function asJson(message: Message): object {
  const { bytes } = message;
  return bytes ? { ...message, bytes: Buffer.from(bytes).toString('base64') } : message;
}

/** An error in Holdfast's vocabulary: name and code are what counts. */
function failure(code: string, statusCode: number, message: string): Error {
  return Object.assign(new Error(message), { name: 'HoldfastError', code, statusCode, details: {} });
}
