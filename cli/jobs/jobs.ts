/** `holdfast jobs …`: jobs as the node manager tells of them, for people and for scripts. */
import {
  createSystem,
  HoldfastError,
  type JobDetail,
  type JobInfo,
  type JobRecord,
  type JobTrigger,
} from '#core';
import { connectToCluster, type ConnectOptions } from '../cluster-location.ts';
import { jsonLine, table } from '../output.ts';
import type { Environment } from '../environment.ts';

type Options = ConnectOptions & { json?: boolean };

/** Between two looks at a run that is waited for. */
const lookMs = 250;

export async function listJobs(options: Options, { cwd, stdout }: Environment): Promise<void> {
  const { master } = await connectToCluster(cwd, options);
  const jobs = await master.jobs();
  if (options.json) return void stdout.write(jsonLine(jobs));
  if (jobs.length === 0) return void stdout.write('no instance of the settings is a job\n');
  const rows = jobs.map(job => [
    job.instanceId,
    scheduleOf(job),
    activityOf(job),
    job.last ? `${job.last.outcome} ${job.last.endedAt}` : '-',
    job.nextAt ?? '-',
  ]);
  stdout.write(`${table([['JOB', 'DUE', 'NOW', 'LAST', 'NEXT'], ...rows])}\n`);
}

export async function showJob(id: string, options: Options, { cwd, stdout }: Environment): Promise<void> {
  const { master } = await connectToCluster(cwd, options);
  const job = await master.job(id);
  stdout.write(options.json ? jsonLine(job) : `${describe(job)}\n`);
}

export async function runJob(
  id: string,
  options: Options & { wait?: boolean },
  { cwd, stdout }: Environment,
): Promise<void> {
  const { master } = await connectToCluster(cwd, options);
  const started = await master.runJob(id);
  const runId = started.active?.runId;
  if (!options.wait || runId === undefined) {
    stdout.write(options.json ? jsonLine(started) : `run ${runId ?? ''} of ${id} begins\n`);
    return;
  }
  const { timers } = createSystem();
  for (;;) {
    const { active, history } = await master.job(id);
    const record = history.find(one => one.runId === runId);
    if (active?.runId !== runId && record) {
      stdout.write(options.json ? jsonLine(record) : `${rowOf(record).join('  ')}\n`);
      if (record.outcome === 'succeeded') return;
      const { code, message } = record.error ?? { code: 'HF_INTERNAL', message: 'no cause was given' };
      throw new HoldfastError(
        'HF_COMPONENT_FAILED',
        `run ${runId} of ${id} ${record.outcome}: ${code}: ${message}`,
      );
    }
    await timers.sleep(lookMs);
  }
}

export async function cancelJob(id: string, options: Options, { cwd, stdout }: Environment): Promise<void> {
  const { master } = await connectToCluster(cwd, options);
  const job = await master.cancelJob(id);
  stdout.write(options.json ? jsonLine(job) : `run ${job.last?.runId ?? ''} of ${id} is cancelled\n`);
}

function describe(job: JobDetail): string {
  const facts = [
    ['due', scheduleOf(job)],
    ['now', activityOf(job)],
    ['next', job.next.join(', ') || '-'],
    ['tries', String(job.retries + 1)],
    ['ends after', `${job.timeoutMs} ms`],
    ['left out', `${job.skipped} times (misfire: ${job.misfire})`],
  ];
  const history = [
    ['RUN', 'DUE', 'BY', 'BEGAN', 'ENDED', 'NODE', 'OUTCOME', 'FENCE', 'RESULT'],
    ...job.history.map(rowOf),
  ];
  return `${table(facts)}\n\n${job.history.length > 0 ? table(history) : 'no run has ended yet'}`;
}

function rowOf(record: JobRecord): string[] {
  return [
    record.attempt > 1 ? `${record.runId}, try ${record.attempt}` : record.runId,
    record.scheduledAt,
    byOf(record.trigger),
    record.startedAt ?? '-',
    record.endedAt,
    record.node ?? '-',
    record.outcome,
    record.fence ?? '-',
    record.error ? `${record.error.code}: ${record.error.message}` : (record.result ?? '-'),
  ];
}

function scheduleOf({ cron, timeZone }: JobInfo): string {
  return cron === null ? 'once' : `${cron} (${timeZone})`;
}

function byOf(trigger: JobTrigger): string {
  return trigger.kind === 'operator' ? trigger.by : trigger.kind;
}

function activityOf({ active, pendingSince }: JobInfo): string {
  if (!active) return pendingSince === null ? 'idle' : 'due';
  const where = active.node === null ? '' : ` on ${active.node}`;
  const attempt = active.attempt > 1 ? `, try ${active.attempt}` : '';
  return `${active.runId}${attempt} ${active.state}${where}`;
}
