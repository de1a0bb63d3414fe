import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { STATUS_CODES } from 'node:http';
import { join } from 'node:path';
import { errorTable, fromErrorBody, HoldfastError, toErrorBody, type ErrorCode } from '#core';

const root = join(import.meta.dirname, '../../..');
const codes = Object.keys(errorTable) as ErrorCode[];

describe('error table', () => {
  it('is the same as docs/errors.md: codes in order, status, retryable, meaning', async () => {
    const text = await readFile(join(root, 'docs/errors.md'), 'utf8');
    const documented = [...text.matchAll(/^\| `(HF_\w+)` +\| (.*)$/gm)].map(([, code, rest]) => {
      const [status, again, meaning, advice] = rest!.split(' | ').map(cell => cell.replace(/\|$/, '').trim());
      assert(advice, `${code} has no advice`);
      return { code, statusCode: Number(status), retryable: again === 'yes', meaning };
    });
    assert.deepEqual(
      documented,
      codes.map(code => ({ code, ...errorTable[code] })),
    );
  });

  it('uses statuses that exist, and says "again" only where that can help', () => {
    for (const code of codes) {
      const { statusCode, retryable, meaning } = errorTable[code];
      assert(STATUS_CODES[statusCode], code);
      assert(!retryable || [421, 503].includes(statusCode), code);
      assert.match(meaning, /^[A-Z].*\.$/, code);
    }
  });
});

describe('HoldfastError', () => {
  it('knows status and retryability by its code', () => {
    const cause = new Error('inner');
    const error = new HoldfastError('HF_NOT_OWNER', 'not mine', { details: { key: '/a' }, cause });
    assert.equal(error.statusCode, 421);
    assert.equal(error.retryable, true);
    assert.equal(error.cause, cause);
    assert.equal(String(error), 'HoldfastError: not mine');
    assert.equal('cause' in new HoldfastError('HF_USAGE', 'x'), false);
  });

  it('survives the wire', () => {
    const error = new HoldfastError('HF_SETTINGS_INVALID', 'wrong', { details: { problems: [1] } });
    const body = toErrorBody(error);
    assert.deepEqual(body, {
      statusCode: 422,
      error: 'Unprocessable Entity',
      code: 'HF_SETTINGS_INVALID',
      message: 'wrong',
      details: { problems: [1] },
    });
    const back = fromErrorBody(JSON.parse(JSON.stringify(body)), 'lost');
    assert.deepEqual([back.code, back.message, back.details], [error.code, error.message, error.details]);
    assert.equal('details' in toErrorBody(new HoldfastError('HF_USAGE', 'x')), false);
  });

  it('makes the best of a body that is not ours', () => {
    for (const body of [
      null,
      undefined,
      'text',
      7,
      {},
      { code: 'toString' },
      { code: 7 },
      { code: 'HF_FUTURE', message: 'm' },
    ]) {
      const error = fromErrorBody(body, 'fallback');
      assert.equal(error.code, 'HF_INTERNAL');
      assert(['fallback', 'm'].includes(error.message));
    }
    const odd = fromErrorBody({ code: 'HF_USAGE', message: { a: 1 }, details: 'x' }, 'fallback');
    assert.equal(odd.message, 'fallback');
    assert.deepEqual(odd.details, {});
  });

  it('takes errors of other copies of itself for its own, and nothing else', () => {
    const foreign = Object.assign(new Error('theirs'), { name: 'HoldfastError', code: 'HF_FENCED' });
    assert(foreign instanceof HoldfastError);
    assert.deepEqual(toErrorBody(foreign), {
      statusCode: 503,
      error: 'Service Unavailable',
      code: 'HF_FENCED',
      message: 'theirs',
    });
    for (const other of [
      new Error('x'),
      Object.assign(new Error('x'), { code: 'HF_FENCED' }),
      Object.assign(new Error('x'), { name: 'HoldfastError', code: 'HF_UNHEARD_OF' }),
      Object.assign(new Error('x'), { name: 'HoldfastError', code: 'toString' }),
      { name: 'HoldfastError', code: 'HF_FENCED', message: 'x' },
      null,
    ]) {
      assert.equal(other instanceof HoldfastError, false);
    }
  });
});
