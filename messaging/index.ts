/**
 * What all publishers share. An adapter implements `Broker` (connection, send, consume, settle, dead letters) and hands it to
 * `createBrokerPublisher`. See docs/messaging.md.
 */
export type {
  Broker,
  BrokerSession,
  BuriedMessage,
  Consumer,
  ConsumeOptions,
  DeadLetterQuery,
  Incoming,
  WireMessage,
} from './broker.ts';
export { createBrokerPublisher } from './publisher.ts';
export { readPublisherSettings } from './settings.ts';
