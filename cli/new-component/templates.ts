/** The text of a new component's files. Pure. */

export interface Template {
  name: string;
  language: 'typescript' | 'javascript';
  /** What it does: answers requests, owns resources, or runs to completion. */
  does: 'answer' | 'own' | 'run';
}

/** File name → content. `component.d.ts` comes from the project itself. */
export function filesOf(template: Template): Record<string, string> {
  return {
    'manifest.json': manifest(template),
    [entryName(template)]: entry(template),
    'package.json': packageJson(template),
    'README.md': readme(template),
  };
}

export function entryName({ language }: Pick<Template, 'language'>): string {
  return language === 'typescript' ? 'main.ts' : 'main.js';
}

const firstVersion = '0.1.0';

const descriptions = {
  answer: 'Greets.',
  own: 'Counts visits, one counter for each path.',
  run: 'Writes a line for each run.',
} as const;

function manifest({ name, does }: Template): string {
  return json({
    packageName: name,
    packageVersion: firstVersion,
    kind: 'component',
    description: descriptions[does],
    main: 'index.js',
    engines: { node: '>=24' },
    defaultConfiguration: { greeting: 'Hello' },
    configurationSchema: {
      type: 'object',
      additionalProperties: false,
      properties: { greeting: { type: 'string', description: 'what to say' } },
    },
  });
}

function packageJson({ name }: Template): string {
  return json({ name, version: firstVersion, private: true, type: 'module' });
}

const typesOf = {
  answer: 'Component, ComponentContext',
  own: 'Component, ComponentContext, Resource, ResourceHandler',
  run: 'Component, ComponentContext, JobRun',
} as const;

const importsOf = {
  answer: '',
  own: `import { readFile, writeFile } from 'node:fs/promises';\nimport { join } from 'node:path';\n`,
  run: `import { appendFile } from 'node:fs/promises';\nimport { join } from 'node:path';\n`,
} as const;

function entry({ language, does }: Template): string {
  const typed = language === 'typescript';
  const head = typed
    ? `import type { ${typesOf[does]} } from './component.d.ts';\n`
    : `/** @typedef {import('./component.d.ts').Component} Component */\n/** @typedef {import('./component.d.ts').ComponentContext} ComponentContext */\n`;
  const signature = typed
    ? 'export default function create(context: ComponentContext): Component {'
    : '/** @type {(context: ComponentContext) => Component} */\nexport default function create(context) {';
  const body = { answer: answerer, own: owner, run: runner }[does](typed);
  return `${importsOf[does]}${head}\n${signature}\n${body}}\n`;
}

function runner(typed: boolean): string {
  return `  return {
    async start() {},
    async stop() {},
    // Called for each run of the job; no other run of it goes on in the cluster meanwhile.
    async run(run${typed ? ': JobRun' : ''}, signal${typed ? ': AbortSignal' : ''}) {
      const file = join(context.dataDirectory, 'runs.txt');
      for (let part = 1; part <= 3; part++) {
        signal.throwIfAborted(); // its time is over, it was cancelled, or another run may begin
        context.log.info({ runId: run.runId, part }, 'working');
      }
      run.assertCurrent(); // before every effect on the outside
      await appendFile(file, \`\${context.settings.greeting} from \${run.runId}, fence \${run.fence}\\n\`);
      return { file }; // up to 4 KiB of JSON, kept in the history
    },
  };
`;
}

function answerer(): string {
  return `  return {
    async start() {
      context.log.info({ settings: context.settings }, 'started');
    },
    async stop() {},
    // Answers every request of its routes; any number of copies may run.
    fetch(request) {
      return Response.json({
        greeting: context.settings.greeting,
        path: new URL(request.url).pathname,
        process: context.processId,
      });
    },
  };
`;
}

function owner(typed: boolean): string {
  return `  return {
    async start() {},
    async stop() {},
    // Called when this process becomes the owner of a key; no other process has it open then.
    async openResource(resource${typed ? ': Resource' : ''})${typed ? ': Promise<ResourceHandler>' : ''} {
      const file = join(context.dataDirectory, \`\${encodeURIComponent(resource.key)}.txt\`);
      let visits = Number(await readFile(file, 'utf8').catch(() => '0'));
      return {
        async fetch() {
          visits += 1;
          resource.assertOwned(); // before every effect on the outside
          await writeFile(file, String(visits));
          return Response.json({ greeting: context.settings.greeting, key: resource.key, visits });
        },
        async close() {},
      };
    },
  };
`;
}

function readme(template: Template): string {
  const { name, does } = template;
  const file = entryName(template);
  return `# ${name}

A component for Holdfast. \`${file}\` is its code, \`manifest.json\` its name, version and settings, and \`component.d.ts\` describes what a
component gets and may do.

## Pack and deploy

${does === 'run' ? deployJob(name) : deployService(name)}
After a change, raise \`packageVersion\` in \`manifest.json\`, pack again, and deploy the new ZIP${does === 'run' ? '' : ': the running copies are replaced one by one'}.
${does === 'own' ? 'Every path is a resource of its own: one process at a time has it open.\n' : ''}
## Dependencies

\`npm install\` them in this folder; \`pack\` bundles them into the ZIP. Compiled (native) modules cannot be bundled.
${does === 'run' ? '' : `\n${existingApplication(name)}`}`;
}

function existingApplication(name: string): string {
  return `## An existing HTTP application

One with a \`fetch\` function (Hono and others) is a component's \`fetch\` as it is:

\`\`\`js
import { Hono } from 'hono';
const app = new Hono().get('/${name}', c => c.text('hello'));
export default () => ({ async start() {}, async stop() {}, fetch: request => app.fetch(request) });
\`\`\`

One with Node's \`(request, response)\` (Express and others) listens on a loopback port, and the component passes requests on:

\`\`\`js
import { createServer } from 'node:http';
import { once } from 'node:events';
import express from 'express';

export default function create() {
  const app = express().get('/${name}', (request, response) => response.send('hello'));
  const server = createServer(app);
  let origin;
  return {
    async start() {
      await once(server.listen(0, '127.0.0.1'), 'listening');
      origin = \`http://127.0.0.1:\${server.address().port}\`;
    },
    async stop() {
      server.closeAllConnections();
      await new Promise(resolve => server.close(resolve));
    },
    fetch(request) {
      const { pathname, search } = new URL(request.url);
      const { method, headers, body } = request;
      return fetch(origin + pathname + search, { method, headers, body, duplex: 'half', redirect: 'manual' });
    },
  };
}
\`\`\`
`;
}

function json(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

function deployService(name: string): string {
  return `In the folder above this one, with a cluster running (\`npm start\` in Holdfast's folder, or \`holdfast up\`):

\`\`\`sh
holdfast pack ${name}
holdfast deploy ${name}-${firstVersion}.zip --instances 2 --route /${name}
curl http://127.0.0.1:8000/${name}
\`\`\`

${whereHoldfastIs}`;
}

function deployJob(name: string): string {
  return `In the folder above this one, with a cluster running (\`npm start\` in Holdfast's folder, or \`holdfast up\`):

\`\`\`sh
holdfast pack ${name}
holdfast deploy ${name}-${firstVersion}.zip --cron "*/5 * * * *"
holdfast jobs run ${name} --wait
holdfast jobs show ${name}
\`\`\`

${whereHoldfastIs}`;
}

const whereHoldfastIs = `\`holdfast\` is \`bin/holdfast\` in Holdfast's folder. \`deploy\` finds the cluster by the nearest \`.holdfast/\` folder upward; from
elsewhere, name it: \`--token-file <holdfast>/.holdfast/token --uri http://127.0.0.1:7777\`.
`;
