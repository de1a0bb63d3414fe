/** What goes on in a soak while the load runs: hosts killed, keys moved, new versions deployed, each again and again until it is stopped. */
import { inspect } from 'node:util';
import { until, type Cluster } from '../../tests/support/cluster.ts';
import { makeKeeperPackage } from '../../tests/support/make-package.ts';

export interface Pace {
  killEveryMs: number;
  moveEveryMs: number;
  deployEveryMs: number;
  /** How often each at most; without it they go on until they are stopped. */
  times?: { kills: number; moves: number; deployments: number };
}

export interface Disturbances {
  kills: number;
  moves: number;
  /** Refused with a reason, as a move is whose owner has just been killed. */
  movesRefused: number;
  /** Versions that all copies ran. */
  deployments: number;
  /** What could not be done at all: errors of the cluster, or of this code. */
  problems: string[];
}

export interface RunningDisturbances {
  readonly counts: Readonly<Disturbances>;
  /** Lets what is under way end. @throws never; see `problems` */
  stop(): Promise<Disturbances>;
}

const problemsMax = 20;

/** On the keepers of the cluster, so many of which shall run. */
export function disturb(
  cluster: Cluster,
  { keys, copies, pace }: { keys: readonly string[]; copies: number; pace: Pace },
): RunningDisturbances {
  const counts: Disturbances = { kills: 0, moves: 0, movesRefused: 0, deployments: 0, problems: [] };
  const stopping = new AbortController();

  async function again(
    everyMs: number,
    what: 'kills' | 'moves' | 'deployments',
    work: (turn: number) => Promise<void>,
  ): Promise<void> {
    for (let turn = 1; counts[what] < (pace.times?.[what] ?? Infinity); turn++) {
      await pause(everyMs, stopping.signal);
      if (stopping.signal.aborted) return;
      try {
        await work(turn);
      } catch (error) {
        if (counts.problems.length < problemsMax) counts.problems.push(`${what}: ${inspect(error)}`);
      }
    }
  }

  const running = Promise.all([
    again(pace.killEveryMs, 'kills', async turn => {
      const hosts = (await cluster.processes()).filter(
        ({ component, pid }) => component?.instanceId === 'keepers' && component.state === 'Started' && pid,
      );
      // Not before the last one has been replaced: on a slow machine none would ever be left.
      if (hosts.length < copies) return;
      process.kill(hosts[turn % hosts.length]!.pid!, 'SIGKILL');
      counts.kills++;
    }),
    again(pace.moveEveryMs, 'moves', async turn => {
      const key = keys[(turn * 7) % keys.length]!;
      const response = await cluster.master(
        `/api/master/resources/${encodeURIComponent(key)}/move?instance=keepers`,
        { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' },
      );
      const text = await response.text();
      if (response.ok) counts.moves++;
      else if ([404, 409, 502, 503, 504].includes(response.status)) counts.movesRefused++;
      else throw new Error(`${key}: ${response.status} ${text}`);
    }),
    again(pace.deployEveryMs, 'deployments', async turn => {
      const version = `1.0.${turn}`;
      const response = await cluster.master('/api/master/packages', {
        method: 'PUT',
        headers: { 'content-type': 'application/zip' },
        body: new Uint8Array(makeKeeperPackage(version)),
      });
      if (!response.ok) throw new Error(`${version}: ${response.status} ${await response.text()}`);
      await until(
        `all keepers run ${version}`,
        async () => {
          const found = (await cluster.status()).instances.find(({ id }) => id === 'keepers');
          return found?.versions[version] === copies && !found.deployment;
        },
        120_000,
      );
      counts.deployments++;
    }),
  ]);
  return {
    counts,
    async stop() {
      stopping.abort();
      await running;
      return counts;
    },
  };
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
  });
}
