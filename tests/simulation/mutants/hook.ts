/**
 * Preloaded (`--import`) into a process that is to run with a mutant: the file is changed as it is loaded, in memory. Nothing is
 * copied, and nothing has to be cleaned up.
 */
import { registerHooks } from 'node:module';
import { pathToFileURL } from 'node:url';
import { mutants } from './mutants.ts';

const name = process.env['HF_MUTANT'];
const mutant = mutants.find(one => one.name === name);
if (!mutant) throw new Error(`there is no mutant "${name}"`);
const { file, find, replace } = mutant;
const url = pathToFileURL(`${import.meta.dirname}/../../../${file}`).href;

registerHooks({
  load(address, context, nextLoad) {
    const loaded = nextLoad(address, context);
    if (address !== url) return loaded;
    const source = loaded.source === undefined || loaded.source === null ? '' : textOf(loaded.source);
    const parts = source.split(find);
    if (parts.length !== 2)
      throw new Error(`${file}: found ${parts.length - 1} times, must be once:\n${find}`);
    return { ...loaded, source: parts.join(replace) };
  },
});

function textOf(source: string | ArrayBuffer | NodeJS.TypedArray): string {
  return typeof source === 'string' ? source : Buffer.from(source as Uint8Array).toString('utf8');
}
