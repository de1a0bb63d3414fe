/**
 * Entry of the package. The same file, bundled, is two programs: the component, and the SQL process that the component
 * starts with a flag. So a package stays one file.
 */
import type { ComponentContext } from '#core';
import { createService } from './service.ts';
import { serveSql } from './worker.ts';
import { SQL_WORKER_FLAG, type WorkerOptions } from './worker-protocol.ts';

export default function create(context: ComponentContext) {
  return createService(context, import.meta.filename);
}

if (process.argv[2] === SQL_WORKER_FLAG && process.send) {
  serveSql(JSON.parse(process.argv[3] ?? '') as WorkerOptions);
}
