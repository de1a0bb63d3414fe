/** Many node agents in one process for `scenarios/agents.ts`: real HTTP, made-up processes. */
import { createFakeNode, zipOf, type FakeNode } from '../../tests/node-manager/fake-node.ts';
import { answer } from './ipc.ts';

export type NodesCommand =
  | { do: 'start'; count: number; secret: string; packages: { name: string; kind: string }[] }
  /** `hang`: they accept requests and never answer. `die`: nobody listens any more. */
  | { do: 'hang' | 'die'; names: string[] };

const nodes = new Map<string, FakeNode>();

await answer<NodesCommand>(async command => {
  if (command.do === 'start') return start(command);
  for (const name of command.names) {
    const node = nodes.get(name)!;
    if (command.do === 'die') await node.close();
    else node.hangs = true;
  }
  return null;
});

/** Resolves to their names and URIs. */
async function start({
  count,
  secret,
  packages,
}: NodesCommand & { do: 'start' }): Promise<[string, string][]> {
  for (let index = 1; index <= count; index++) {
    const node = createFakeNode(`node-${index}`, secret);
    await node.listen();
    for (const { name, kind } of packages) {
      const response = await fetch(`${node.uri()}/api/node/packages`, {
        method: 'POST',
        headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/zip' },
        body: new Uint8Array(zipOf(name, '1.0.0', { kind })),
      });
      if (response.status !== 201) throw new Error(await response.text());
    }
    nodes.set(node.name, node);
  }
  return [...nodes.values()].map(node => [node.name, node.uri()]);
}
