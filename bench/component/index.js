/** The measured component: owns keys and answers as `../peers/upstream.js` does. */
import { answerOf, big, slowChunks } from './answers.js';

export default function create() {
  return {
    async start() {},
    async stop() {},
    async openResource({ key }) {
      const get = key.startsWith('/bench/big')
        ? () => new Response(big, { headers: { 'content-type': 'application/octet-stream' } })
        : key.startsWith('/bench/slow')
          ? () => new Response(ReadableStream.from(slowChunks()))
          : () => Response.json(answerOf(key));
      return {
        fetch(request) {
          return request.method === 'POST' ? count(request) : get();
        },
        /** Echoes what comes. */
        upgrade(upgrade) {
          const socket = upgrade.accept({ onMessage: data => void socket.send(data) });
        },
        async close() {},
      };
    },
  };
}

async function count(request) {
  let bytes = 0;
  for await (const chunk of request.body) bytes += chunk.length;
  return Response.json({ bytes });
}
