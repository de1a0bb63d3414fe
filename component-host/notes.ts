/** The notes of an instance: documents of the coordination store below a name of the instance's own, within limits. */
import { HoldfastError, type DocumentStore, type InstanceId, type Notes } from '#core';

const nameForm = /^[A-Za-z0-9._/-]{1,128}$/;
const textBytesMax = 64 * 1024;

export function createNotes(documents: Pick<DocumentStore, 'get' | 'put'>, instanceId: InstanceId): Notes {
  const documentName = (name: string) => {
    if (typeof name === 'string' && nameForm.test(name)) return `notes/${instanceId}/${name}`;
    throw invalid('name', '1 to 128 letters, digits, dots, dashes, underscores and slashes');
  };
  return {
    async read(name) {
      const found = await documents.get(documentName(name));
      return found && { text: found.content, version: found.etag };
    },
    async write(name, text, version) {
      if (typeof text !== 'string' || Buffer.byteLength(text) > textBytesMax) {
        throw invalid('text', `a text of at most ${textBytesMax} bytes`);
      }
      const outcome = await documents.put(documentName(name), text, version);
      if (outcome.written) return { written: true, version: outcome.etag };
      const { current } = outcome;
      return { written: false, current: current && { text: current.content, version: current.etag } };
    },
  };
}

function invalid(argument: 'name' | 'text', expected: string): HoldfastError {
  return new HoldfastError('HF_NOTE_INVALID', `the ${argument} of a note: expected ${expected}`, {
    details: { argument },
  });
}
