/** `node cli/programs/main.ts`: bundles the programs of this project; `bin/programs.js` runs it when one is needed. */
import { join } from 'node:path';
import { createSystem } from '#core';
import { buildPrograms } from './programs.ts';

await buildPrograms(join(import.meta.dirname, '../..'), createSystem().clock.wallMs());
