/** Many schedules, spread over as many processes as there are cores. */
import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { addStatistics, emptyStatistics, type Statistics } from './statistics.ts';
import type { Finding, WorkerReport } from './worker.ts';

export interface CampaignResult {
  schedules: number;
  elapsedMs: number;
  statistics: Statistics;
  /** By seed, the smallest first. */
  findings: Finding[];
}

export async function runCampaign({
  from,
  seeds,
  processes = availableParallelism(),
}: {
  from: number;
  seeds: number;
  processes?: number;
}): Promise<CampaignResult> {
  const startedMs = performance.now();
  const reports = await Promise.all(
    Array.from({ length: processes }, (_, index) =>
      runWorker({ from: from + index, to: from + seeds, step: processes, untilFirst: false }),
    ),
  );
  const statistics = emptyStatistics();
  for (const report of reports) addStatistics(statistics, report.statistics);
  return {
    schedules: reports.reduce((sum, { schedules }) => sum + schedules, 0),
    elapsedMs: performance.now() - startedMs,
    statistics,
    findings: reports.flatMap(({ findings }) => findings).toSorted((one, other) => one.seed - other.seed),
  };
}

export interface WorkerOptions {
  from: number;
  to: number;
  step: number;
  untilFirst: boolean;
  execArgv?: string[];
  env?: NodeJS.ProcessEnv;
}

/** Rejects when the process ends without a report. */
export function runWorker(options: WorkerOptions): Promise<WorkerReport> {
  const { from, to, step, untilFirst, execArgv = [], env = {} } = options;
  const { promise, resolve, reject } = Promise.withResolvers<WorkerReport>();
  const worker = fork(
    `${import.meta.dirname}/worker.ts`,
    [from, to, step, untilFirst ? 'first' : 'all'].map(String),
    {
      execArgv,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
      serialization: 'advanced',
    },
  );
  let complaint = '';
  worker.stderr!.on('data', (data: Buffer) => (complaint += data.toString('utf8')));
  worker.on('message', message => resolve(message as WorkerReport));
  worker.on('error', reject);
  worker.on('close', code => reject(new Error(`the worker ended with ${code} and no report:\n${complaint}`)));
  return promise;
}
