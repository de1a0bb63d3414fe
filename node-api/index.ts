/** The per-node agent: REST API, package store, supervision of host processes. Contract: docs/api.md. */
export { startNodeAgent, type NodeAgent } from './agent.ts';
export type { NodeAgentOptions } from './options.ts';
export { parseNodeArguments, type NodeArguments } from './arguments.ts';
