/**
 * The note of the newest run of a job that any host began. A host writes its run there, under the lease of the job, before it calls the
 * component, and refuses to begin one that is not newer: a process that was started twice for one run, or that comes back after its node was
 * given up, runs nothing twice.
 */
import { HoldfastError, jobMarkerName, type DocumentStore, type JobRunRequest } from '#core';

interface Marker {
  number: number;
  attempt: number;
  processId: string;
}

const attemptsMax = 10;

/** @throws HoldfastError HF_JOB_STALE; HF_COORDINATION_UNAVAILABLE, then it may be called again */
export async function markBegun(
  documents: Pick<DocumentStore, 'get' | 'put'>,
  instanceId: string,
  processId: string,
  { number, attempt }: Pick<JobRunRequest, 'number' | 'attempt'>,
): Promise<void> {
  const name = jobMarkerName(instanceId);
  for (let turn = 0; turn < attemptsMax; turn++) {
    const document = await documents.get(name);
    const newest = document && (JSON.parse(document.content) as Marker);
    if (newest && newest.processId === processId) return; // written before, and the answer was lost
    if (newest && (newest.number - number || newest.attempt - attempt) >= 0) {
      throw new HoldfastError(
        'HF_JOB_STALE',
        `run ${number}, attempt ${attempt}, is not newer than run ${newest.number}, attempt ${newest.attempt}, which ${newest.processId} began`,
        { details: { ...newest } },
      );
    }
    const content = JSON.stringify({ number, attempt, processId } satisfies Marker);
    const outcome = await documents.put(name, content, document?.etag ?? null);
    if (outcome.written) return;
  }
  throw new HoldfastError(
    'HF_COORDINATION_UNAVAILABLE',
    `the document ${name} is changed by others all the time`,
  );
}
