/** A component that is the app of the comparison with process managers (`app.js`), and answers requests besides. */
import { listen } from './app.js';

export default function create({ settings }) {
  let server = null;
  return {
    async start() {
      server = await listen({ port: 0, tellPort: settings.tellPort });
    },
    async stop() {
      server?.close();
    },
    fetch: () => new Response('ok'),
  };
}
