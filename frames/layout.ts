/**
 * The bytes of a frame, see docs/frames.md. Every frame is a header of ten bytes (payload length, type, flags, stream)
 * and its payload; all numbers are unsigned and big-endian. Changing anything here makes another version of the protocol.
 */

/** What peers say that they speak when a connection begins; one that does not know it refuses. */
export const protocolName = 'holdfast-frames/1';

export const headerBytes = 10;

export const frameType = {
  /** The connecting side's proof that it knows the cluster secret; before anything else. */
  hello: 1,
  request: 2,
  response: 3,
  data: 4,
  /** Header block after the body; ends it. */
  trailers: 5,
  /** The receiver takes so many bytes more of a body. */
  window: 6,
  /** Ends a stream in both directions, with a `resetCode`. */
  reset: 7,
  /** The sender will close: nothing new is taken from here on. */
  goaway: 8,
  /** Nothing new will be sent after this. */
  goawayAck: 9,
  ping: 10,
  pong: 11,
} as const;

export const flag = {
  /** Nothing of this side's body follows. */
  end: 1,
  /** Of a request: bytes in both directions may follow an answer 101, until each side has ended. */
  upgrade: 2,
} as const;

/** Why a stream ends before its time. A component has no way to say any of these but `broken`. */
export const resetCode = {
  /** The guard of the host refused: nothing was executed. */
  notOwner: 1,
  /** It would wait for itself: nothing was executed. The text is the error as JSON. */
  cycle: 2,
  /** The host is leaving or has too much to do: nothing was executed. */
  refused: 3,
  /** The side that asked does not want the answer any more. */
  cancelled: 4,
  /** The answer broke off; what was executed is unknown. */
  broken: 5,
} as const;

export const goawayCode = { leaving: 0, protocolError: 1, unauthorised: 2 } as const;

/** Before the text of a request: fence, and the lengths of method, target, key, channel block and header block. */
export const requestFixedBytes = 8 + 1 + 2 + 2 + 2 + 4;
/** Before the text of a response: status, and the lengths of reason and header block. */
export const responseFixedBytes = 2 + 1 + 4;

/** A body up to this length goes in the frame of its head. */
export const inlineBytesMax = 16 * 1024;
/** What a payload may be: heads with all that is in them, and pieces of a body. */
export const headPayloadBytesMax = 192 * 1024;
export const dataPayloadBytesMax = 64 * 1024;
/** What may be said in any other frame. */
export const controlPayloadBytesMax = 64 * 1024;
/** All that a host reads of somebody who has not proved anything. */
export const helloBytes = 32;

/** What may be sent of a body before the receiver asks for more. */
export const windowBytes = 64 * 1024;
/** How far the window of a stream may grow whose receiver keeps up. */
export const windowBytesMax = 1024 * 1024;
/** By how much the windows of one connection may have grown together. */
export const windowGrowthBytesMax = 16 * 1024 * 1024;

/** Streams that one connection may have at once. */
export const streamsMax = 8_192;
/** Ids are not used twice; after the last one a new connection is made. */
export const streamIdMax = 0x7fff_ffff;

/** The longest payload of a type; 0 for a type that there is not. */
export function payloadBytesMax(type: number): number {
  switch (type) {
    case frameType.hello:
      return helloBytes;
    case frameType.request:
    case frameType.response:
    case frameType.trailers:
      return headPayloadBytesMax;
    case frameType.data:
      return dataPayloadBytesMax;
    case frameType.window:
    case frameType.reset:
    case frameType.goaway:
    case frameType.goawayAck:
    case frameType.ping:
    case frameType.pong:
      return controlPayloadBytesMax;
    default:
      return -1;
  }
}
