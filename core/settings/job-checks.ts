/** What the schema cannot say about jobs: when they are due must make sense, and what runs to completion serves nobody. Pure. */
import { cronProblem, isTimeZone } from '../cron.ts';
import { jsonPath, type Problem } from '../problems.ts';
import type { ClusterSettings } from './model.ts';

export function jobProblems({ componentInstances, routes }: ClusterSettings): Problem[] {
  const problems: Problem[] = [];
  componentInstances.forEach((instance, index) => {
    const { job } = instance;
    if (!job) return;
    const at = (...path: string[]) => jsonPath(['componentInstances', index, ...path]);
    if (instance.instances !== 1) {
      problems.push({ path: at('instances'), value: instance.instances, expected: '1, because it is a job' });
    }
    if (instance.health.http) {
      problems.push({ path: at('health', 'http'), expected: 'no HTTP check: a job serves nothing' });
    }
    const wrong = job.cron === null ? null : cronProblem(job.cron);
    if (wrong !== null) {
      const expected = `a cron expression of 5 fields, or 6 with seconds in front (${wrong})`;
      problems.push({ path: at('job', 'cron'), value: job.cron, expected });
    }
    if (!isTimeZone(job.timeZone)) {
      const expected = 'the IANA name of a time zone, like Europe/Berlin';
      problems.push({ path: at('job', 'timeZone'), value: job.timeZone, expected });
    }
  });
  const jobs = new Set(componentInstances.filter(instance => instance.job).map(instance => instance.id));
  routes.forEach((route, index) => {
    if (!jobs.has(route.componentInstanceId)) return;
    const path = jsonPath(['routes', index, 'componentInstanceId']);
    problems.push({
      path,
      value: route.componentInstanceId,
      expected: 'an instance that is no job: jobs serve no requests',
    });
  });
  return problems;
}
