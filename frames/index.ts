/** The protocol between who asks hosts and the hosts: many requests on one connection, in binary frames. Design: docs/frames.md. */
/** The connecting end. */
export { dial, type Dialed, type DialOptions } from './dial.ts';
/** The accepting end, for the `upgrade` event of an HTTP server. */
export { createFrameServer, type AcceptOptions, type FrameServer } from './accept.ts';
export { resetCode } from './layout.ts';
export type { ResetCode } from './stream.ts';
/** What goes over it. */
export { RequestLink } from './request-link.ts';
export type {
  OutgoingRequest,
  RequestFailure,
  Request,
  ResponseHead,
  ResponseReceiver,
} from './request-link.ts';
export { AnswerLink, type IncomingRequest } from './answer-link.ts';
/** `headerBlock` throws TypeError for what no header can hold. Pure. */
export { findHeader, headerBlock, parseHeaderBlock } from './header-block.ts';
