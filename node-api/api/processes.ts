/** `/api/node/processes`: list, start, kill. */
import type { FastifyInstance } from 'fastify';
import { HoldfastError, LIMITS, type KillOutcome, type ProcessInfo } from '#core';
import type { Entry } from '../supervision/entries.ts';
import type { NodeContext } from './context.ts';
import { KillSchema, parseKill, parseStart, StartSchema, uncheckedBody } from './requests.ts';

interface ListQuery {
  Querystring: { all?: boolean };
}
interface OfPackage {
  Params: { packageName: string };
}
interface OfProcess {
  /** A process id, or a settingsId with its slashes percent-encoded. */
  Params: { packageName: string; processId: string };
}

const root = '/api/node/processes';
const read = { scope: 'read' } as const;
const deploy = { scope: 'deploy' } as const;
const withEnded = {
  querystring: {
    type: 'object',
    properties: { all: { type: 'boolean', description: 'Ended processes too.' } },
    additionalProperties: false,
  },
};

export function processRoutes(app: FastifyInstance, context: NodeContext): void {
  const { entries, supervisor } = context;

  app.get<ListQuery>(root, { config: read, schema: { summary: 'Processes', ...withEnded } }, ({ query }) =>
    listProcesses(context, () => true, query.all),
  );
  app.get<ListQuery & OfPackage>(
    `${root}/:packageName`,
    { config: read, schema: { summary: 'Processes of one package', ...withEnded } },
    ({ params, query }) => {
      const found = listProcesses(context, info => isOf(info, params.packageName), query.all);
      if (found.length === 0) requireKnownName(context, params.packageName);
      return found;
    },
  );
  app.get<ListQuery & OfProcess>(
    `${root}/:packageName/:processId`,
    { config: read, schema: { summary: 'One process, by its id or settingsId', ...withEnded } },
    ({ params, query }) => findProcess(context, params, query.all ?? false),
  );

  app.put<OfPackage>(
    `${root}/:packageName/start`,
    {
      config: deploy,
      bodyLimit: LIMITS.settingsBytesMax,
      schema: { summary: 'Start a host, or a component in a host', body: StartSchema },
      ...uncheckedBody,
    },
    async ({ params, body }, reply) => {
      const info = await supervisor.start(params.packageName, parseStart(body));
      return reply.code(201).send(info);
    },
  );

  const kill = async (body: unknown, chosen: (info: ProcessInfo) => boolean, named: string | null) => {
    const { graceMs } = parseKill(body);
    const found: Entry[] = entries.all().filter(entry => chosen(entries.info(entry)));
    if (found.length === 0 && named !== null) {
      throw new HoldfastError('HF_PROCESS_NOT_FOUND', `no process runs as ${named}`);
    }
    return supervisor.kill(found, graceMs) satisfies Promise<KillOutcome>;
  };
  const killSchema = (summary: string) => ({
    config: deploy,
    schema: { summary, body: KillSchema },
    ...uncheckedBody,
  });
  app.put(`${root}/kill`, killSchema('Stop all processes'), ({ body }) => kill(body, () => true, null));
  app.put<OfPackage>(
    `${root}/:packageName/kill`,
    killSchema('Stop all processes of one package'),
    ({ params, body }) => kill(body, info => isOf(info, params.packageName), params.packageName),
  );
  app.put<OfProcess>(
    `${root}/:packageName/:processId/kill`,
    killSchema('Stop one process'),
    ({ params: { packageName, processId: id }, body }) =>
      kill(body, info => isOf(info, packageName) && isCalled(info, id), `${packageName}/${id}`),
  );
}

function listProcesses(
  { entries }: NodeContext,
  chosen: (info: ProcessInfo) => boolean,
  withEnded = false,
): ProcessInfo[] {
  const live = entries
    .all()
    .map(entries.info)
    .filter(info => info.processId !== ''); // a first start that has no process yet
  return [...live, ...(withEnded ? [...entries.ended()].reverse() : [])].filter(chosen);
}

/** A live process before an ended one, a newer before an older. @throws HoldfastError HF_PROCESS_NOT_FOUND */
export function findProcess(
  context: NodeContext,
  { packageName, processId: id }: OfProcess['Params'],
  withEnded: boolean,
): ProcessInfo {
  const [found] = listProcesses(context, info => isOf(info, packageName) && isCalled(info, id), withEnded);
  if (!found) throw new HoldfastError('HF_PROCESS_NOT_FOUND', `no process ${id} of ${packageName}`);
  return found;
}

/** A package's name finds its own processes, and a component's name also the host that was configured with it by hand. */
export function isOf(info: ProcessInfo, packageName: string): boolean {
  return info.packageName === packageName || info.component?.packageName === packageName;
}

/** An installed package without processes has none, which is no error; a name that nobody knows is one. */
export function requireKnownName({ packages }: NodeContext, packageName: string): void {
  if (packages.list().some(item => item.packageName === packageName)) return;
  throw new HoldfastError('HF_PROCESS_NOT_FOUND', `no process or package ${packageName}`);
}

function isCalled(info: ProcessInfo, id: string): boolean {
  return info.processId === id || info.settingsId === id;
}
