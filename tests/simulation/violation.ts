/** What a schedule can show to be broken. */
export type Invariant =
  /** Commits of a resource never decrease in fence, and each fence has one owner. */
  | 'I1-commits-in-fence-order'
  /** No acknowledged write is missing later. */
  | 'I2-acknowledged-writes-stay'
  /** No two hosts believe at the same (true) time that they own a key. */
  | 'I3-one-answerer'
  /** The history of each key is linearizable. */
  | 'I4-linearizable'
  /** The fence grows whenever a key gets another owner. */
  | 'I5-fences-increase'
  /** A planned change costs no request. */
  | 'I6-planned-changes-lose-nothing'
  /** When faults have stopped, every key is served again within a bound. */
  | 'I7-service-returns'
  /** A component has a key open at most once. */
  | 'one-opening-per-component'
  /** A resource is closed before its key is handed on as planned. */
  | 'closed-before-handed-on'
  /** What was answered "not executed" was not. */
  | 'not-executed-means-it'
  /** A request that may not be repeated is executed at most once. */
  | 'executed-at-most-once'
  /** A draining host gets no key that it has not. */
  | 'draining-hosts-get-nothing'
  /** A store that has forgotten, and is back soon, costs nobody a key. */
  | 'forgetting-moves-nothing'
  /** A paused key is given to nobody. */
  | 'paused-keys-stay-unowned'
  /** A session's count of keys is that of the records that name it. */
  | 'key-counts-exact'
  /** Each request that reached a host is answered exactly once. */
  | 'answered-exactly-once'
  /** A drained host ends, with nothing open. */
  | 'drains-end'
  /** The code under test threw, or a state is impossible. */
  | 'no-crash';

export class Violation extends Error {
  readonly invariant: Invariant;

  constructor(invariant: Invariant, message: string) {
    super(`${invariant}: ${message}`);
    this.invariant = invariant;
  }
}
