/**
 * Imports of `node:http` are answered by `process.getBuiltinModule`. Node gives an ES module every export of a built-in one as a
 * value; with `node:http` that reads `WebSocket` and the like, which load Node's fetch: 50 ms of CPU time and 10 MB for each
 * process, whether it fetches anything or not. The result is the same object, so nothing that is bundled sees a difference.
 */
import type { Plugin } from 'esbuild';

const namespace = 'node-http';

export const leanHttp: Plugin = {
  name: 'lean-http',
  setup(build) {
    // What is required is read as it is anyway.
    build.onResolve({ filter: /^(?:node:)?http$/ }, ({ kind }) =>
      kind === 'import-statement' ? { path: 'http', namespace } : undefined,
    );
    build.onLoad({ filter: /^/, namespace }, () => ({
      contents: `module.exports = process.getBuiltinModule('node:http');`,
      loader: 'js',
    }));
  },
};
