/** Typed calls to the API of one component host: what the node manager asks it to do with its keys. */
import { createConnection, type ConnectionOptions } from './http.ts';

/** Which key, and to whom. `to`: a session; null lets the directory choose. */
export interface HandOffRequest {
  key: string;
  /** Only the holding under this fence; without it whatever the host holds. Digits. */
  fence?: string;
  to: string | null;
  /** Give the key back instead of handing it to another host. */
  release?: boolean;
  /** How long requests in flight may take to finish; then they are broken off. */
  deadlineMs: number;
}

export interface HostClient {
  readonly uri: string;
  /** `moved: false`: the host did not hold the key, under that fence, any more. */
  handOff(request: HandOffRequest): Promise<{ moved: boolean }>;
  /** Hands up to `count` keys over, the longest idle first. Resolves to those that moved. */
  handOffMany(request: { count: number; to: string | null; deadlineMs: number }): Promise<{
    moved: { key: string }[];
  }>;
}

/** What a call may take beyond the deadline that the host was given. */
const onTheWayMs = 2_000;

/** Every call has a deadline and throws HoldfastError: the host's own, or HF_NODE_UNREACHABLE. */
export function createHostClient(options: ConnectionOptions): HostClient {
  const connection = createConnection(options);
  const handOff = <Result>(json: { deadlineMs: number }) =>
    connection.json<Result>('POST', '/api/componentHost/resources/handoff', {
      json,
      timeoutMs: json.deadlineMs + onTheWayMs,
    });
  return {
    uri: connection.uri,
    handOff: request => handOff(request),
    handOffMany: request => handOff(request),
  };
}
