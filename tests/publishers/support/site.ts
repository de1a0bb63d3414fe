/** Where the publishers of one test work: a data folder, settings, processes, and the broker, which can be broken. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import {
  configure,
  parseManifest,
  type CreatePublisher,
  type Logger,
  type Message,
  type MessageHandler,
  type MessagePublisher,
  type PublisherContext,
  type Settings,
  type SubscribeOptions,
} from '#core';
import { until } from '../../support/wait.ts';

/** A real broker process. */
export interface BrokerControl {
  /** SIGKILL, and nothing listens any more. */
  kill(): Promise<void>;
  /** On what it had on disk; called only when it was killed. */
  start(): Promise<void>;
  /** SIGSTOP, SIGCONT. */
  pause(): void;
  resume(): void;
}

/** What a publisher's test brings. */
export interface PublisherUnderTest {
  /** Folder with `main.ts` and `manifest.json`, below `publishers/`. */
  folder: string;
  /** Whether there is a server, which can be broken: then `open` resolves to its control. */
  hasBroker: boolean;
  /** Called before the tests: starts the broker, if there is one. `directory` is empty. */
  open(directory: string): Promise<{
    settings: Record<string, unknown>;
    broker: BrokerControl | null;
    close(): Promise<void>;
  }>;
}

export interface Member {
  readonly child: ChildProcess;
  /** What it has said so far under this name. */
  said(name: string): string[];
  kill(): Promise<void>;
}

export interface Received {
  readonly ids: string[];
  readonly messages: Message[];
}

export type Site = Awaited<ReturnType<typeof openSite>>;

const silent = (): void => {};
const memberFile = join(import.meta.dirname, '../../fixtures/publishers/member.ts');

export async function openSite(under: PublisherUnderTest) {
  const directory = await mkdtemp(join(tmpdir(), 'hf-publishers-'));
  const folder = join(import.meta.dirname, '../../../publishers', under.folder);
  const main = join(folder, 'main.ts');
  const { default: create } = (await import(main)) as { default: CreatePublisher };
  const manifest = parseManifest(await readFile(join(folder, 'manifest.json'), 'utf8'));
  const opened = await under.open(join(directory, 'broker'));
  const publishers: MessagePublisher[] = [];
  const members: Member[] = [];
  let turn = 0;

  function context(instanceId: string, settings: object): Omit<PublisherContext, 'log'> {
    turn += 1;
    return {
      name: manifest.packageName,
      instanceId,
      processId: `host-${turn}`,
      nodeName: 'node-1',
      settings: configure(manifest, { ...opened.settings, ...settings }) as Settings,
      dataDirectory: join(directory, 'data', instanceId),
    };
  }

  return {
    broker: opened.broker,
    /** Names nothing that another test has used. */
    name: (what: string) => `${what}-${(turn += 1)}`,
    /** A started publisher, stopped after the test. */
    async publisher(
      options: { instanceId?: string; settings?: object; log?: Logger } = {},
    ): Promise<MessagePublisher> {
      const { instanceId = 'instance', settings = {}, log } = options;
      const made = await create({
        ...context(instanceId, settings),
        log: log ?? { debug: silent, info: silent, warn: silent, error: silent },
      });
      publishers.push(made);
      await made.start();
      return made;
    },
    /** A process of its own. */
    member(orders: object, options: { instanceId?: string; settings?: object } = {}): Member {
      const { instanceId = 'instance', settings = {} } = options;
      const words = { main, context: context(instanceId, settings), ...orders };
      const child = spawn(process.execPath, [memberFile, JSON.stringify(words)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const lines: Record<string, string>[] = [];
      createInterface(child.stdout).on(
        'line',
        line => void lines.push(JSON.parse(line) as Record<string, string>),
      );
      const exited = new Promise<void>(resolve => child.once('exit', () => resolve()));
      const member = {
        child,
        said: (name: string) => lines.flatMap(line => (name in line ? [line[name]!] : [])),
        async kill() {
          child.kill('SIGKILL');
          await exited;
        },
      };
      members.push(member);
      return member;
    },
    /** After each test. */
    async clean(): Promise<void> {
      for (const member of members.splice(0)) await member.kill();
      await Promise.all(publishers.splice(0).map(publisher => publisher.stop()));
    },
    async close(): Promise<void> {
      await opened.close();
      await rm(directory, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

export function message(subject: string, number: number, more: Partial<Message> = {}): Message {
  return {
    messageId: `${subject}-${number}`,
    source: 'tests',
    timestamp: '2026-01-01T00:00:00.000Z',
    messageType: subject,
    content: `content ${number}`,
    properties: { number: String(number) },
    ...more,
  };
}

export function messages(subject: string, from: number, to: number): Message[] {
  return Array.from({ length: to - from + 1 }, (_, index) => message(subject, from + index));
}

export const ids = (list: readonly Message[]): string[] => list.map(({ messageId }) => messageId);

export const quick = { firstMs: 5, maxMs: 20 };

/** Subscribes, and notes what was handled. */
export async function receive(
  publisher: MessagePublisher,
  subject: string,
  options: SubscribeOptions = {},
  handler: MessageHandler = async () => {},
) {
  const received: Received = { ids: [], messages: [] };
  assert(publisher.subscribe);
  const subscription = await publisher.subscribe(
    subject,
    async (got, delivery) => {
      await handler(got, delivery);
      received.ids.push(got.messageId);
      received.messages.push(got);
    },
    { backoff: quick, ...options },
  );
  return {
    ...received,
    close: () => subscription.close(),
    /** Resolves when so many were handled. */
    count: (number: number) =>
      until(`${number} messages are handled`, async () => received.ids.length >= number, 60_000),
  };
}
