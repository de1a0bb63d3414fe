/** Hands the nodes of a cluster their coordination store. Idempotent: it may be repeated after any failure. */
import { createNodeClient } from '#client';
import { HoldfastError, type NodeCoordination, type RedisAddress } from '#core';

export interface Assigned {
  /** Nodes that have it, and what they see of it. */
  nodes: { uri: string; coordination: NodeCoordination }[];
  /** Nodes that did not answer; the node manager hands it to them as soon as they do. */
  missing: { uri: string; reason: string }[];
}

const timeoutMs = 10_000;

/** @throws HoldfastError HF_WRONG_STATE when a node belongs to another store; what a node answers that refuses for another reason */
export async function assignStore(
  address: RedisAddress,
  { uris, token }: { uris: readonly string[]; token: string },
): Promise<Assigned> {
  const assigned: Assigned = { nodes: [], missing: [] };
  const refused: { uri: string; error: HoldfastError }[] = [];
  await Promise.all(
    uris.map(async uri => {
      try {
        const node = createNodeClient({ uri, token, timeoutMs });
        await node.assignCoordination(address);
        assigned.nodes.push({ uri, coordination: await node.coordination() });
      } catch (error) {
        if (!(error instanceof HoldfastError)) throw error;
        if (error.code === 'HF_NODE_UNREACHABLE') assigned.missing.push({ uri, reason: error.message });
        else refused.push({ uri, error });
      }
    }),
  );
  const [first] = refused;
  if (!first) return assigned;
  throw new HoldfastError(
    first.error.code,
    refused.map(({ uri, error }) => `${uri}: ${error.message}`).join('; '),
    { details: { nodes: refused.map(({ uri }) => uri) }, cause: first.error },
  );
}

/** What of it needs the operator, one line each. Pure. */
export function describeAssigned({ nodes, missing }: Assigned): string[] {
  return [
    ...missing.map(
      ({ uri, reason }) =>
        `not reached: ${uri} (${reason}); it gets the coordination store as soon as it answers`,
    ),
    ...nodes.flatMap(({ uri, coordination: { problem, warnings } }) => [
      ...(problem === null ? [] : [`problem: ${uri} with the coordination store: ${problem}`]),
      ...warnings.map(warning => `warning: ${uri} sees: ${warning}`),
    ]),
  ];
}
