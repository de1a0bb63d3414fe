/** The text of a new component's files. Pure. */

export interface Template {
  name: string;
  language: 'typescript' | 'javascript';
  ownsResources: boolean;
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

function manifest({ name, ownsResources }: Template): string {
  return json({
    packageName: name,
    packageVersion: firstVersion,
    kind: 'component',
    description: ownsResources ? 'Counts visits, one counter for each path.' : 'Greets.',
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

function entry(template: Template): string {
  const typed = template.language === 'typescript';
  const types = template.ownsResources
    ? 'Component, ComponentContext, Resource, ResourceHandler'
    : 'Component, ComponentContext';
  const head = typed
    ? `import type { ${types} } from './component.d.ts';\n`
    : `/** @typedef {import('./component.d.ts').Component} Component */\n/** @typedef {import('./component.d.ts').ComponentContext} ComponentContext */\n`;
  const imports = template.ownsResources
    ? `import { readFile, writeFile } from 'node:fs/promises';\nimport { join } from 'node:path';\n`
    : '';
  const signature = typed
    ? 'export default function create(context: ComponentContext): Component {'
    : '/** @type {(context: ComponentContext) => Component} */\nexport default function create(context) {';
  return `${imports}${head}\n${signature}\n${template.ownsResources ? owner(typed) : answerer()}}\n`;
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
  const { name, ownsResources } = template;
  const file = entryName(template);
  return `# ${name}

A component for Holdfast. \`${file}\` is its code, \`manifest.json\` its name, version and settings, and \`component.d.ts\` describes what a
component gets and may do.

## Pack and deploy

In the folder above this one, with a cluster running (\`npm start\` in Holdfast's folder, or \`holdfast up\`):

\`\`\`sh
holdfast pack ${name}
holdfast deploy ${name}-${firstVersion}.zip --instances 2 --route /${name}
curl http://127.0.0.1:8000/${name}
\`\`\`

\`holdfast\` is \`bin/holdfast\` in Holdfast's folder. \`deploy\` finds the cluster by the nearest \`.holdfast/\` folder upward; from
elsewhere, name it: \`--token-file <holdfast>/.holdfast/token --uri http://127.0.0.1:7777\`.

After a change, raise \`packageVersion\` in \`manifest.json\`, pack again, and deploy the new ZIP: the running copies are replaced one by one.
${ownsResources ? 'Every path is a resource of its own: one process at a time has it open.\n' : ''}
## Dependencies

\`npm install\` them in this folder; \`pack\` bundles them into the ZIP. Compiled (native) modules cannot be bundled.

## An existing HTTP application

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
