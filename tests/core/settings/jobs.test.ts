import { strict as assert } from 'node:assert';
import { HoldfastError, parseSettings, type Problem } from '#core';

const document = (instance: object, routes: object[] = []) =>
  JSON.stringify({
    clusterName: 'demo',
    nodeServers: [{ networkName: 'node-1', networkIp: '127.0.0.1', nodeApiUri: 'http://127.0.0.1:5101' }],
    componentInstances: [{ id: 'report', packageName: 'report', ...instance }],
    routes,
  });

function problemsOf(text: string): Problem[] {
  try {
    parseSettings(text);
    return [];
  } catch (error) {
    assert.ok(error instanceof HoldfastError);
    return error.details.problems as Problem[];
  }
}

describe('settings: jobs', () => {
  it('takes jobs that run once or by cron, and fills in the defaults', () => {
    for (const cron of ['0 3 * * *', '*/5 * * * * *', '0 0 1 JAN *', '30 2 * * MON-FRI']) {
      const text = document({ job: { cron, timeZone: 'Europe/Berlin' } });
      assert.deepEqual(problemsOf(text), []);
    }
    const { settings } = parseSettings(document({ job: {} }));
    assert.deepEqual(settings.componentInstances[0]!.job, {
      cron: null,
      timeZone: 'UTC',
      timeoutMs: 3_600_000,
      retries: 0,
      misfire: 'once',
      historyMax: 50,
    });
  });

  it('refuses what makes no sense for a job, with the path and what was expected', () => {
    const job = {};
    const cases: [object, string, RegExp][] = [
      [{ job, instances: 2 }, '$.componentInstances[0].instances', /^1, because it is a job$/],
      [{ job, instances: 'perNode' }, '$.componentInstances[0].instances', /^1, because/],
      [{ job, health: { http: {} } }, '$.componentInstances[0].health.http', /no HTTP check/],
      [
        { job: { cron: '61 * * * *' } },
        '$.componentInstances[0].job.cron',
        /5 fields.*Invalid value for minute: 61/,
      ],
      [{ job: { cron: '* * * *' } }, '$.componentInstances[0].job.cron', /5 fields, or 6 with seconds/],
      [{ job: { cron: '0 0 31 2 *' } }, '$.componentInstances[0].job.cron', /a time that never comes/],
      [
        { job: { cron: '* * * * *', timeZone: 'Mars/Base' } },
        '$.componentInstances[0].job.timeZone',
        /IANA name/,
      ],
    ];
    for (const [instance, path, expected] of cases) {
      const [problem, ...others] = problemsOf(document(instance));
      assert.deepEqual([problem?.path, others], [path, []]);
      assert.match(problem!.expected, expected);
    }
  });

  it('refuses a route to a job', () => {
    const [problem] = problemsOf(
      document({ job: {} }, [{ pathPrefix: '/r', componentInstanceId: 'report' }]),
    );
    assert.deepEqual([problem?.path, problem?.value], ['$.routes[0].componentInstanceId', 'report']);
    assert.match(problem!.expected, /jobs serve no requests/);
  });
});
