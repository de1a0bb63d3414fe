/** What a component is given, made here: settings as its manifest fills and checks them, leases in memory, a publisher that remembers. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  configure,
  createSystem,
  parseManifest,
  type Component,
  type ComponentContext,
  type Delivery,
  type HoldOutcome,
  type LeaseService,
  type InstanceId,
  type Message,
  type Notes,
  type System,
} from '#core';
import { createNotes } from '../../component-host/notes.ts';
import { createInMemoryCoordination } from './in-memory-coordination.ts';
import { createInMemoryLeases } from './in-memory-leases.ts';

const silent = (): void => {};
export const never = new AbortController().signal;

export interface TestContext extends ComponentContext {
  /** What was published, in order. */
  readonly published: Message[];
  readonly subscriptions: string[];
  readonly health: { ready: boolean; message?: string };
}

export interface TestContextOptions {
  /** Name of a folder in `components/`. */
  component: string;
  dataDirectory: string;
  settings: Record<string, unknown>;
  instanceId?: string;
  processId?: string;
  nodeName?: string;
  leases?: LeaseService;
  notes?: Notes;
  publish?: (message: Message) => Promise<void>;
}

export function componentFolder(name: string): string {
  return join(import.meta.dirname, '../../components', name);
}

export async function makeTestContext(options: TestContextOptions): Promise<TestContext> {
  const manifest = parseManifest(
    await readFile(join(componentFolder(options.component), 'manifest.json'), 'utf8'),
  );
  const published: Message[] = [];
  const subscriptions: string[] = [];
  let health: TestContext['health'] = { ready: true };
  const { instanceId = options.component, processId = 'host-1', nodeName = 'node-1' } = options;
  return {
    name: options.component,
    instanceId,
    processId,
    nodeName,
    settings: configure(manifest, options.settings) as ComponentContext['settings'],
    log: { debug: silent, info: silent, warn: silent, error: silent },
    dataDirectory: options.dataDirectory,
    leases: options.leases ?? leasesInMemory(),
    notes: options.notes ?? notesInMemory(),
    publisher: {
      name: 'test',
      instanceId,
      state: 'started',
      start: () => Promise.resolve(),
      stop: () => Promise.resolve(),
      async publish(message) {
        await options.publish?.(message);
        published.push(message);
      },
    },
    subscribe: messageType => void subscriptions.push(messageType),
    reportHealth: reported => void (health = reported),
    resource(): never {
      throw new Error('not used');
    },
    published,
    subscriptions,
    get health() {
      return health;
    },
  };
}

export function leasesInMemory(system: System = createSystem()): LeaseService {
  return createInMemoryLeases({ system, enter: () => Promise.resolve() });
}

/** For a process by itself: whatever it wants to hold it has, for ever, under this fence. */
export function leaseHeldUnder(fence: bigint): LeaseService {
  return {
    ...leasesInMemory(),
    async hold<T>(
      _: string,
      __: object,
      work: (signal: AbortSignal, lease: { fence: bigint }) => Promise<T>,
    ): Promise<HoldOutcome<T>> {
      return { acquired: true, value: await work(never, { fence }), fence, heldToTheEnd: true };
    },
  };
}

export function notesInMemory(): Notes {
  return createNotes(createInMemoryCoordination().documents, 'test' as InstanceId);
}

/** Starts it; `stop` may be called more than once. */
export async function started(component: Component): Promise<{ stop(): Promise<void> }> {
  await component.start(never);
  let stopping: Promise<void> | null = null;
  return { stop: () => (stopping ??= component.stop(never)) };
}

/** What `onMessage` is told of the attempt. */
export function deliveryOf(attempt: number, signal = never): Delivery {
  return { attempt, group: 'test', signal };
}

/** The JSON in a message. */
export function contentOf(message: Message): Record<string, unknown> {
  return JSON.parse(message.content ?? 'null') as Record<string, unknown>;
}
