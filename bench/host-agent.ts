/** One agent on a folder of its own with the real packages, for scenarios that start hosts without a cluster around them. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { packFolder } from '#cli';
import type { NodeAgentOptions } from '#node-api';
import { createWorkplace, type AgentClient, type Workplace } from '../tests/node-api/agent-harness.ts';

const project = join(import.meta.dirname, '..');

export interface HostAgent {
  client: AgentClient;
  workplace: Workplace;
  /** Starts one `hello`; milliseconds from the request to the answer that it runs, and its process. */
  start(settingsId: string): Promise<{ ms: number; pid: number }>;
}

export async function startHostAgent(options: Partial<NodeAgentOptions>): Promise<HostAgent> {
  const workplace = await createWorkplace();
  const client = await workplace.agent(options);
  for (const folder of ['component-host', 'components/hello']) {
    const { zipPath } = await packFolder(join(project, folder), {
      outDirectory: join(project, 'build/packages'),
    });
    await client.upload(await readFile(zipPath));
  }
  return {
    client,
    workplace,
    async start(settingsId) {
      const beginMs = performance.now();
      const { status, body } = await client.start('hello', { settingsId });
      const ms = performance.now() - beginMs;
      if (status !== 201 || body.pid === null)
        throw new Error(`hello did not start: ${JSON.stringify(body)}`);
      return { ms, pid: body.pid };
    },
  };
}
