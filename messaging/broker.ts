/**
 * The port to a message broker: all that an adapter has to bring. What every publisher shares (validation, order, outbox, reconnection,
 * concurrency, retries, duplicates, drain) is on this side of it, in this folder.
 *
 * A session is one life of the connection. An adapter neither reconnects nor retries: when anything is wrong with the connection, it ends
 * the session, and is asked for a new one.
 */

/** A message as it lies at the broker: facts as flat text, and the content as bytes. */
export interface WireMessage {
  subject: string;
  messageId: string;
  /** Everything else that is to be kept beside the body. Names are `[A-Za-z0-9_.-]`, values any text. */
  headers: Record<string, string>;
  body: Buffer;
}

export interface Broker {
  /** Connects, or rejects. `signal` aborts when nobody waits any more. */
  connect(signal: AbortSignal): Promise<BrokerSession>;
}

export interface BrokerSession {
  /** Resolves with the reason when the session is over, whoever ended it. */
  readonly ended: Promise<Error>;
  /**
   * Resolves when the broker has the message as durably as it is configured. Messages are stored in the order of the calls, although
   * several are under way at once. A message with an id that the subject has seen within the duplicate window is not stored again, where the broker can tell.
   * @throws HoldfastError HF_MESSAGE_INVALID, HF_MESSAGE_TOO_LARGE when the broker will never take this message, HF_OUTBOX_FULL when it has
   * no room: the caller is told; anything else means that the outcome is unknown: the message is sent again in another session
   */
  send(message: WireMessage): Promise<void>;
  /** Makes the group if need be, then hands out its messages until `stop`. */
  consume(options: ConsumeOptions, onMessage: (incoming: Incoming) => void): Promise<Consumer>;
  /** Oldest first. */
  listDeadLetters(query: DeadLetterQuery): Promise<{ deadLetters: BuriedMessage[]; cursor: string | null }>;
  /** Gives them back to their groups with attempts counted from 1, and takes them off the list: each in one step. */
  replayDeadLetters(ids: readonly string[]): Promise<string[]>;
  removeDeadLetters(ids: readonly string[]): Promise<string[]>;
  /** Ends the session. Never rejects. */
  close(): Promise<void>;
}

export interface ConsumeOptions {
  subject: string;
  group: string;
  /** Names the subscription: unique, and the same in each session of its process. */
  member: string;
  /** At most so many messages are handed out and not settled. */
  prefetch: number;
  /** After how long without `extend` others get a message. */
  ackWaitMs: number;
  /**
   * Nobody else of the group consumes: what is unsettled from before is taken over at once, and everything is handed out in the order of
   * its storing.
   */
  exclusive: boolean;
}

export interface Incoming {
  readonly message: WireMessage;
  /** How often it was handed out since it was stored, this time included. */
  readonly attempt: number;
}

/** Each message that was handed out is settled by one of `ack`, `release`, `bury`. What rejects has no effect that counts. */
export interface Consumer {
  ack(incoming: Incoming): Promise<void>;
  /** Gives them back to the group, at once and in their place. */
  release(incoming: readonly Incoming[]): Promise<void>;
  /** They are still being handled. */
  extend(incoming: readonly Incoming[]): Promise<void>;
  /** Moves it to the dead letters of its group. */
  bury(incoming: Incoming, facts: { reason: string; attempts: number; failedAt: string }): Promise<void>;
  /** Takes no more. Those handed out can still be settled. */
  stop(): Promise<void>;
}

export interface DeadLetterQuery {
  group: string | null;
  limit: number;
  cursor: string | null;
}

export interface BuriedMessage {
  id: string;
  group: string;
  message: WireMessage;
  reason: string;
  attempts: number;
  failedAt: string;
}
