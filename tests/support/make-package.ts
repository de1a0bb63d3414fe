/** Packages made by hand, as a stranger's tool would make them: a manifest and one JavaScript file in a ZIP. */
import AdmZip from 'adm-zip';

export function makePackage(
  manifest: Record<string, unknown>,
  files: Record<string, string | Buffer>,
): Buffer {
  const zip = new AdmZip();
  zip.addFile('manifest.json', Buffer.from(JSON.stringify(manifest, null, 2)));
  for (const [name, content] of Object.entries(files)) zip.addFile(name, Buffer.from(content));
  // The same content gives the same bytes, whenever it is asked for.
  for (const entry of zip.getEntries()) entry.header.time = new Date(2026, 0, 1);
  return zip.toBuffer();
}

/** A component that owns resources and answers who, which key, and which version it is. */
export function makeKeeperPackage(version: string): Buffer {
  return makePackage(
    {
      packageName: 'keeper',
      packageVersion: version,
      kind: 'component',
      contentRoot: 'content',
      main: 'index.js',
    },
    {
      'content/index.js': `
        export default function create(context) {
          return {
            async start() {},
            async stop() {},
            async openResource(resource) {
              let served = 0;
              return {
                async fetch(request) {
                  served++;
                  const { delayMs } = Object.fromEntries(new URL(request.url).searchParams);
                  if (delayMs) await new Promise(resolve => setTimeout(resolve, Number(delayMs)));
                  return Response.json({
                    owner: context.processId, node: context.nodeName, key: resource.key, fence: String(resource.fence),
                    version: ${JSON.stringify(version)}, served, body: await request.text(),
                  });
                },
                async close() {},
              };
            },
          };
        }`,
    },
  );
}
