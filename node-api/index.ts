/** The per-node agent: REST API, package store, supervision of host processes. Contract: docs/api.md. */
export { startNodeAgent, type NodeAgent } from './agent.ts';
export type { NodeAgentOptions } from './options.ts';
/** What the file with the address of a coordination store holds. */
export type { StoredAddress } from './coordination/address-file.ts';
export { parseNodeArguments, type NodeArguments } from './arguments.ts';
