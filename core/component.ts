/**
 * The public API of components and publishers: what an author of a package implements, and what the host gives to it. This file holds types only and
 * imports nothing, so that `holdfast new component` can hand out a copy of it. Design: docs/component-author.md.
 */

/** A JSON value, as settings hold them. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** The settings of one instance: the package's `defaultConfiguration`, overlaid by the instance's own, checked and frozen. */
export type Settings = Readonly<Record<string, Json>>;

/** What a package of kind `component` exports (by default as `default`): makes the component, does no work yet. */
export type CreateComponent = (context: ComponentContext) => Component | Promise<Component>;

/** What a package of kind `publisher` exports: makes the publisher, does no work yet. */
export type CreatePublisher = (context: PublisherContext) => MessagePublisher | Promise<MessagePublisher>;

/** The unit that a user writes. One host process runs one component. */
export interface Component {
  /** Gets ready to work. The publisher has been started already. A rejection makes the host roll the start back. */
  start(signal: AbortSignal): Promise<void>;
  /** Lets go of everything. The publisher still runs. Resources have been closed before. */
  stop(signal: AbortSignal): Promise<void>;
  /**
   * Opens an exclusively owned resource; having this method makes the component an owner of resources. Called at most once at a time per key, only while
   * the host owns the key. Must install `resource.fence` at the resource (if that can check fences) before it reads any state.
   */
  openResource?(resource: Resource): Promise<ResourceHandler>;
  /** Answers HTTP requests that need no ownership. Not used where `openResource` exists. */
  fetch?(request: Request): Promise<Response> | Response;
  /** Answers a client that asks for a WebSocket, where nothing is owned; as `ResourceHandler.upgrade`. */
  upgrade?(upgrade: WebSocketUpgrade): Promise<Response | void> | Response | void;
  /**
   * Does the work of one run of a job, and resolves to what is worth keeping in its history (at most 4 KiB as JSON). Called once, after `start`, where
   * the instance is a job; not called otherwise. One run of a job goes on at a time in the whole cluster. The signal aborts when the run has to stop:
   * its time is over, the process stops, or the right to be the only run ends. A rejection, or an end after the abort, is a failure.
   */
  run?(run: JobRun, signal: AbortSignal): Promise<Json | void>;
  /**
   * Receives messages of the component's subscriptions, except those that go to the owner of a key. Resolving acknowledges; after a
   * rejection the message comes again, until `maxDeliver`. At least once.
   */
  onMessage?(message: Message, delivery: Delivery): Promise<void>;
}

/** One run of a job. */
export interface JobRun {
  /** The same for every attempt of this run. */
  readonly runId: string;
  /** The time that it was due. */
  readonly scheduledAt: Date;
  /** 1 for the first try. */
  readonly attempt: number;
  /** Strictly higher than that of every run and attempt before. What the run writes to should reject a lower one. */
  readonly fence: bigint;
  /** Throws unless this is the only run at this moment. Call it before every effect on the outside. */
  assertCurrent(): void;
}

/** Serves one owned resource until `close`. */
export interface ResourceHandler {
  /** Answers a request for this key. The URL is the canonical one that the client asked for. */
  fetch(request: Request): Promise<Response> | Response;
  /** Answers a client that asks for a WebSocket: by `upgrade.accept`, or by a Response that refuses it. An open one is a request in flight. */
  upgrade?(upgrade: WebSocketUpgrade): Promise<Response | void> | Response | void;
  /**
   * The time that `Resource.alarm` asked for has come. Resolving settles the alarm; a rejection makes it come again, after a
   * growing pause. At least once: it may come twice when an owner dies in the middle.
   */
  alarm?(): Promise<void>;
  /**
   * Receives messages of subscriptions with `key`, those for this key, one at a time and in order. Resolving acknowledges; after a
   * rejection the message comes again, before those behind it, until `maxDeliver`. At least once.
   */
  onMessage?(message: Message, delivery: Delivery): Promise<void>;
  /** Closes the resource: afterwards another process may open it. Called once, after in-flight requests finished. */
  close(): Promise<void>;
}

/** A client asks for a WebSocket. `accept` opens it, and throws for a `protocol` that is not among those that the client offers. */
export interface WebSocketUpgrade {
  readonly request: Request;
  readonly protocols: readonly string[];
  accept(events?: WebSocketEvents): WebSocketConnection;
}

export interface WebSocketEvents {
  protocol?: string;
  /** Called for one message after the other: the next one waits until this resolves. A rejection ends the socket with 1011. */
  onMessage?(data: string | Uint8Array): Promise<void> | void;
  /** Called once, however it ended. 1006: without a word. */
  onClose?(code: number, reason: string): void;
  /** The key moves, or this host stops: finish what has to be finished. When this resolves the socket ends with 1012. */
  onLeaving?(): Promise<void> | void;
}

/** `bufferedBytes`: sent, but not yet taken by the client; above 8 MiB the socket is broken off. */
export interface WebSocketConnection {
  readonly protocol: string;
  readonly bufferedBytes: number;
  /** Resolves when more may be sent (`false`: the socket has ended), so wait for it before you send much. */
  send(data: string | Uint8Array): Promise<boolean>;
  close(code?: number, reason?: string): void;
}

/** The right to one resource. */
export interface Resource {
  /** Canonical key, for example `/db/customers`. */
  readonly key: string;
  /** Strictly higher than that of every earlier owner of this key. The resource should reject writes with a lower one. */
  readonly fence: bigint;
  /** Aborts when the right ends, however it ends. */
  readonly signal: AbortSignal;
  /**
   * True when an owner has opened the key before, as far as the directory remembers. Its state must exist then: a component
   * that does not find it should refuse with `HF_STATE_MISSING` instead of creating an empty one.
   */
  readonly hadOwner?: boolean;
  /** Throws `HF_NOT_OWNER` unless the key is owned at this moment. Call it before every effect on the outside. */
  assertOwned(): void;
  /**
   * Sets the key's one alarm (null: takes it away). It outlives this owner: whoever owns the key then is woken, opened first if
   * need be, and its handler's `alarm` called. Resolves when it is stored, as durable as the coordination store is.
   * Rejects with `HF_NOT_OWNER` when another owner has taken over, `HF_COORDINATION_UNAVAILABLE` when the store cannot be asked.
   */
  alarm(at: Date | null): Promise<void>;
}

/** A resource of some instance of this cluster, wherever its owner runs. */
export interface RemoteResource {
  /**
   * Sends the request to the present owner of the key, as the router would: waits while the key moves, and sends again only
   * what was certainly not executed or is idempotent. The URL's path and query are passed on; host and scheme mean nothing.
   * Rejects with `HF_NO_OWNER` (nothing was executed), `HF_OUTCOME_UNKNOWN`, `HF_OWNER_TIMEOUT`, `HF_COORDINATION_UNAVAILABLE`,
   * or with `HF_CALL_CYCLE` when the call could never be answered, because it waits for what waits for it.
   */
  fetch(request: Request | string | URL, init?: RequestInit): Promise<Response>;
}

/** What a component gets. */
export interface ComponentContext {
  /** The package's name. */
  readonly name: string;
  /** The instance's id in the cluster settings. */
  readonly instanceId: string;
  /** The id of the host process: unique in the cluster, new with every start. */
  readonly processId: string;
  /** The node's name. */
  readonly nodeName: string;
  readonly settings: Settings;
  /** The instance's publisher; one that rejects `publish` with `HF_NO_PUBLISHER` if the instance has none. */
  readonly publisher: MessagePublisher;
  readonly log: Logger;
  readonly leases: LeaseService;
  readonly notes: Notes;
  /** Names a resource of any instance, for calls to it. `key` as in the URL, for example `/db/customers`. */
  resource(instanceId: string, key: string): RemoteResource;
  /** An existing folder that all instances with this id share on one machine. Absolute path. */
  readonly dataDirectory: string;
  /**
   * Asks for messages of a type, delivered to `onMessage`. Each is handled by one of the instance's copies: the instance's id is the
   * group. Call in `create` or `start`.
   */
  subscribe(messageType: string, options?: ComponentSubscribeOptions): void;
  /** Reports health as seen from inside; shown in the status. `ready: false` keeps new requests away. */
  reportHealth(health: { ready: boolean; message?: string }): void;
  /** Only for packages whose manifest asks for the permission `cluster`: the means to run the cluster. */
  readonly cluster?: unknown;
}

/** What a publisher gets. */
export type PublisherContext = Pick<
  ComponentContext,
  'name' | 'instanceId' | 'processId' | 'nodeName' | 'settings' | 'log' | 'dataDirectory'
>;

export type PublisherState = 'stopped' | 'started' | 'failed';

/** Carries messages out of a component and, where it can, to subscribers. Several calls may be under way at once. */
export interface MessagePublisher {
  readonly name: string;
  readonly instanceId: string;
  readonly state: PublisherState;
  start(): Promise<void>;
  /** Takes no more messages, lets handlers finish, sends what waits as far as the time allows; the rest stays on disk for the next start. */
  stop(): Promise<void>;
  /**
   * Resolves when the broker has the message, or, while the broker is away, when it is on disk in the outbox, from where it is sent
   * later. Messages of one process are stored in the order of the calls. One whose `messageId` was published for the same type not
   * long before (the publisher states its window) is taken for the same message: it is not stored twice.
   * Rejects with `HF_MESSAGE_INVALID`, `HF_MESSAGE_TOO_LARGE`, `HF_OUTBOX_FULL`, `HF_WRONG_STATE`.
   */
  publish(message: Message): Promise<void>;
  /**
   * Delivers messages of a type to the handler, whose resolving acknowledges. A publisher without this method only publishes.
   * When this has resolved and the broker is there, the group exists: whatever is published from now on reaches it, whether or
   * not somebody of the group is there at the time. Each message goes to one member of each group.
   */
  subscribe?(messageType: string, handler: MessageHandler, options?: SubscribeOptions): Promise<Subscription>;
  /** What groups could not handle. */
  readonly deadLetters?: DeadLetters;
}

/**
 * Resolving acknowledges: the message does not come again to this group, unless the broker lost the acknowledgement *and* this process
 * ended. After a rejection it comes again, after a growing pause; meanwhile others may overtake it.
 */
export type MessageHandler = (message: Message, delivery: Delivery) => Promise<void>;

/** One attempt to have a message handled. */
export interface Delivery {
  /** 1 for the first try; goes on counting when another process takes the message over. */
  readonly attempt: number;
  /** The subscription's group. */
  readonly group: string;
  /** Aborts when the handler's result no longer matters, because the subscription has been given up. */
  readonly signal: AbortSignal;
}

export interface SubscribeOptions {
  /** Its members share the messages. Default: the instance's id. */
  group?: string;
  /** How many messages this process handles at once, 1 to 1,000; default 1, which keeps the order of what is not rejected. */
  concurrency?: number;
  /** After how many failed attempts a message becomes a dead letter, 1 to 1,000; default 5. */
  maxDeliver?: number;
  /** The pause before the second attempt, doubled for each further one up to `maxMs`. Default 1 s and 60 s. */
  backoff?: { firstMs: number; maxMs: number };
  /** False: a message that failed too often is dropped, with a line in the log. Default true. */
  deadLetter?: boolean;
  /** After how long without a sign of life from a process others get what it was handling, 1 s to 1 h; default 30 s. */
  ackWaitMs?: number;
  /**
   * Messages with the same answer are handled one after the other, in the order in which they were published; a rejected one is tried again before those
   * behind it. Only one process of the group may subscribe like this at a time; whoever does takes over what is unacknowledged, at once.
   */
  orderBy?: (message: Message) => string;
}

export interface Subscription {
  /** Takes no more messages, and resolves when those under way are settled. What waits goes back to the group. Idempotent. */
  close(): Promise<void>;
}

/** Options of `ComponentContext.subscribe`. */
export interface ComponentSubscribeOptions extends Omit<SubscribeOptions, 'group' | 'orderBy'> {
  /**
   * Which resource of this instance a message is for, as a key like `/ledger/eu`: it goes to `onMessage` of the handler of that key,
   * in the process that owns it (the key gets an owner if it has none), in order for each key. A text is the name of the property that holds the key.
   * With `key`, `concurrency` bounds the keys that are served at once; default 16.
   */
  key?: string | ((message: Message) => string);
}

/** Messages that a group failed to handle, kept until somebody replays or removes them. */
export interface DeadLetters {
  /** Oldest first. `limit` 1 to 1,000, default 100. */
  list(query?: { group?: string; limit?: number; cursor?: string }): Promise<DeadLetterPage>;
  /** Gives them to their group again, with fresh attempts. Resolves to the ids that were there. */
  replay(ids: readonly string[]): Promise<string[]>;
  /** Resolves to the ids that were there. */
  remove(ids: readonly string[]): Promise<string[]>;
}

export interface DeadLetterPage {
  deadLetters: DeadLetter[];
  cursor: string | null;
}

export interface DeadLetter {
  /** Opaque, unique among the publisher's dead letters. */
  id: string;
  group: string;
  message: Message;
  /** Why the last attempt failed, at most 1,000 characters. */
  reason: string;
  attempts: number;
  /** ISO 8601, UTC. */
  failedAt: string;
}

export interface Message {
  /** Unique for its type; the same again means the same message. */
  messageId: string;
  /** Who sent it, usually the instance id. */
  source: string;
  /** ISO 8601, UTC. */
  timestamp: string;
  /** What subscribers ask for: letters, digits, `_` and `-` in parts joined by dots. Without one it is `message`. */
  messageType?: string;
  /** Text, for example JSON. */
  content?: string;
  /** Binary content, instead of `content`. */
  bytes?: Uint8Array;
  /** The media type of the content, for example `application/json`. */
  contentType?: string;
  /**
   * Small facts beside the content. Some names have a meaning: `correlationId` names what the message belongs to, `traceparent` and `tracestate` are
   * those of W3C Trace Context. The host sets them on what is published while it handles a message or a request, unless they are there.
   */
  properties: Record<string, string>;
}

/** Structured log: facts first, then a constant text. Secrets are redacted by name. */
export interface Logger {
  debug(facts: object, text: string): void;
  info(facts: object, text: string): void;
  warn(facts: object, text: string): void;
  error(facts: object, text: string): void;
}

/** Time-limited exclusive rights under a name, shared by the whole cluster. */
export interface LeaseService {
  /**
   * Takes the lease or extends it if `holder` has it already (the fence stays). Contention is a value, not an error.
   * Rejects with `HF_COORDINATION_UNAVAILABLE` (retryable) when the store cannot be asked.
   */
  tryAcquire(name: string, holder: string, ttlMs: number): Promise<LeaseGrant>;
  /** Extends a live lease of this holder and fence; `acquired: false` if it is no longer theirs. */
  renew(name: string, holder: string, fence: bigint, ttlMs: number): Promise<LeaseGrant>;
  /** Ends the lease if it is this holder's. Resolves to whether it was. */
  release(name: string, holder: string, fence: bigint): Promise<boolean>;
  /** The live holder, or null. */
  inspect(name: string): Promise<LeaseHolder | null>;
  /** Live leases in byte order of their names, after `cursor`; `limit` 1 to 1,000 (the default). */
  list(query?: {
    prefix?: string;
    limit?: number;
    cursor?: string;
  }): Promise<{ leases: LeaseHolder[]; cursor: string | null }>;
  /**
   * Calls with the present holder (null: nobody) as soon as it is known, and whenever holder or fence have changed; changes that
   * follow each other quickly may be told as one. Goes on by itself when the store was away. The result stops it.
   */
  watch(name: string, listener: (holder: LeaseHolder | null) => void): () => void;
  /**
   * Runs `work` while the lease is held: acquires it (waiting for up to `waitMs`, default 0), renews it by remaining headroom, and aborts the signal
   * before the lease can end elsewhere, by a monotonic deadline counted from before each call was sent. When the work has ended the lease is released.
   * Contention is a value. Rejects with what `work` threw, or `HF_COORDINATION_UNAVAILABLE` when the store could not be asked at all.
   */
  hold<T>(
    name: string,
    options: HoldOptions,
    work: (signal: AbortSignal, lease: { readonly fence: bigint }) => Promise<T>,
  ): Promise<HoldOutcome<T>>;
}

export interface HoldOptions {
  holder: string;
  ttlMs: number;
  /** How long to wait for a lease that somebody else has, default 0. */
  waitMs?: number;
  /** Ends waiting, and aborts the work. */
  signal?: AbortSignal;
}

/**
 * What became of `hold`: the work's result and whether the lease was held to its end (`false`: it was lost in the middle, the signal
 * was aborted and the work resolved nevertheless), or whose lease it is.
 */
export type HoldOutcome<T> =
  | { acquired: true; value: T; fence: bigint; heldToTheEnd: boolean }
  | { acquired: false; fence: bigint | null; expiresInMs: number; holder: string | null };

export interface LeaseHolder {
  name: string;
  holder: string;
  fence: bigint;
  /** Milliseconds left, by the store's clock, when it answered. */
  expiresInMs: number;
}

/** The outcome of `tryAcquire` and `renew`: whether it is yours now, and whose it is otherwise. */
export type LeaseGrant =
  | { acquired: true; fence: bigint; expiresInMs: number; holder: string }
  | { acquired: false; fence: bigint | null; expiresInMs: number; holder: string | null };

/**
 * Small facts that outlive a process and reach every copy of the instance, on whatever machine: in the coordination store, and as durable as that is. For
 * what a copy needs to go on where another one ended, not for data: a few notes, each written at most some times a second.
 */
export interface Notes {
  /** Rejects with `HF_NOTE_INVALID`, `HF_COORDINATION_UNAVAILABLE`. */
  read(name: string): Promise<Note | null>;
  /**
   * Writes if the note is still the one with this version (null: if there is none). `written: false` brings what is there instead. After a rejection
   * with `HF_COORDINATION_UNAVAILABLE` it may have been written. @param name 1 to 128 letters, digits, `.`, `_`, `-` and `/`; of the instance's own
   * @param text at most 64 KiB
   */
  write(
    name: string,
    text: string,
    version: string | null,
  ): Promise<{ written: true; version: string } | { written: false; current: Note | null }>;
}

export interface Note {
  text: string;
  version: string;
}
