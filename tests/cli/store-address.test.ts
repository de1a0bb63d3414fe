import assert from 'node:assert/strict';
import { parseSettings, type ErrorCode } from '#core';
import type { StoreCheck } from '#ownership';
import { describeAssigned } from '../../cli/coordination/assign-store.ts';
import { faultOf, storeAddress } from '../../cli/coordination/store-address.ts';
import { masterUriOn } from '../../cli/up/plan.ts';
import { makeFolder, type Folder } from './helpers.ts';

const password = 'hunter2';
const settingsOf = (urls: unknown[] | null, more: object = {}) =>
  parseSettings(
    JSON.stringify({
      clusterName: 'shop',
      ...(urls ? { coordination: { kind: 'redis', urls } } : {}),
      nodeServers: [{ networkName: 'a', nodeApiUri: 'http://10.0.0.4:5100' }],
      sessionTtlMs: 3_000,
      ...more,
    }),
  ).settings;

describe('the coordination store that a command finds in the settings', () => {
  let folder: Folder;
  beforeEach(() => (folder = makeFolder()));
  afterEach(() => folder[Symbol.dispose]());

  it('is the embedded one unless they say otherwise', async () => {
    assert.deepEqual(await storeAddress(settingsOf(null), folder.path), { kind: 'embedded' });
  });

  it('has the cluster’s name and time to live in it, and its secrets filled in', async () => {
    folder.write({ 'redis-url': `redis://:${password}@10.0.0.6:6379\n` });
    const settings = settingsOf(['redis://10.0.0.5', { secretRef: 'redis-url' }]);
    assert.deepEqual(await storeAddress(settings, folder.path), {
      kind: 'redis',
      urls: ['redis://10.0.0.5', `redis://:${password}@10.0.0.6:6379`],
      prefix: 'holdfast:{shop}:',
      sessionTtlMs: 3_000,
    });
  });

  it('is refused with the path of what is wrong, and never with a secret', async () => {
    folder.write({ bad: `${password} is no URL`, twice: `redis://:${password}@10.0.0.5` });
    for (const [url, path] of [
      [
        { secretRef: 'none' },
        /\$\.coordination\.urls\[1\]\.secretRef is "none", expected a secret in the file .*none/,
      ],
      [{ secretRef: 'bad' }, /\$\.coordination\.urls\[1\] expected a URL/],
      [
        { secretRef: 'twice' },
        /\$\.coordination\.urls\[1\] expected another Redis than \$\.coordination\.urls\[0\]/,
      ],
    ] as const) {
      await assert.rejects(
        storeAddress(settingsOf(['redis://10.0.0.5', url]), folder.path),
        (error: Error) => {
          assert.match(error.message, path);
          assert(!error.message.includes(password));
          return true;
        },
      );
    }
  });

  it('is not started on when too few servers answer, or one is set up to lose keys', () => {
    const fine: StoreCheck = { endpoint: 'a:1/0', unreachable: null, problems: [], warnings: [] };
    const away = { ...fine, endpoint: 'b:1/0', unreachable: 'b:1/0: refused' };
    const evicts = { ...fine, endpoint: 'c:1/0', problems: ['c:1/0: evicts'] };
    const codeOf = (...checks: StoreCheck[]): ErrorCode | null => faultOf(checks)?.code ?? null;
    assert.equal(codeOf(fine), null);
    assert.equal(codeOf(away), 'HF_COORDINATION_UNAVAILABLE');
    assert.equal(codeOf(away, fine, fine), 'HF_COORDINATION_UNAVAILABLE', 'the first serves the directory');
    assert.equal(codeOf(fine, away, fine), null);
    assert.equal(codeOf(fine, away), 'HF_COORDINATION_UNAVAILABLE', 'one of two is no majority');
    assert.equal(codeOf(fine, evicts, fine), 'HF_STATE_UNUSABLE');
  });
});

describe('bootstrap', () => {
  it('says which nodes were not reached, and what others see of the store', () => {
    const coordination = {
      kind: 'redis',
      endpoints: ['r:6379/0'],
      source: 'assigned',
      reachable: false,
      problem: 'no answer',
      warnings: ['slow'],
      sessionsToEnd: 0,
    } as const;
    const lines = describeAssigned({
      nodes: [
        {
          uri: 'http://a:1',
          coordination: {
            ...coordination,
            endpoints: [...coordination.endpoints],
            warnings: [...coordination.warnings],
          },
        },
      ],
      missing: [{ uri: 'http://b:1', reason: 'refused' }],
    });
    assert.match(lines[0]!, /^not reached: http:\/\/b:1 \(refused\)/);
    assert.match(lines[1]!, /^problem: http:\/\/a:1 .*no answer/);
    assert.equal(lines.length, 3);
  });

  it('finds the master where its node is', () => {
    const on = (host: string | null, nodeUri: string, local: boolean) =>
      masterUriOn(
        settingsOf(null, {
          componentInstances: [
            {
              id: 'm',
              packageName: 'node-manager',
              settings: { ...(host === null ? {} : { host }), port: 7_000 },
            },
          ],
        }),
        { nodeUri, local },
      );
    assert.equal(on('0.0.0.0', 'http://10.0.0.4:5100', false), 'http://10.0.0.4:7000');
    assert.equal(on('10.0.0.9', 'http://10.0.0.4:5100', false), 'http://10.0.0.9:7000');
    assert.equal(on(null, 'http://10.0.0.4:5100', true), 'http://127.0.0.1:7000');
    assert.throws(() => on(null, 'http://10.0.0.4:5100', false), {
      code: 'HF_SETTINGS_INVALID',
      message: /\$\.componentInstances\[0\]\.settings\.host expected .*10\.0\.0\.4/,
    });
  });
});
