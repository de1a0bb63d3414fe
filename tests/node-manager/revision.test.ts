import assert from 'node:assert/strict';
import type { InstanceSettings } from '#core';
import { desiredInstances, type CatalogEntry, type DesiredInstance } from '#node-manager';
import { clusterOf, instance, known } from './made-up-cluster.ts';

const host = known('component-host', '1.0.0', { kind: 'host' });

function desiredOf(
  settings: InstanceSettings,
  more: { catalog?: CatalogEntry[]; restarts?: Record<string, string>; previous?: DesiredInstance } = {},
): DesiredInstance {
  const [made] = desiredInstances({
    settings: clusterOf(['a'], [settings]),
    catalog: more.catalog ?? [host, known('app')],
    restarts: more.restarts ?? {},
    rollouts: more.previous ? { one: { previous: more.previous.revision, limit: 1, paused: null } } : {},
  });
  return made!;
}

describe('revision', () => {
  it('names the versions that are meant, and starts copies in exactly that host', () => {
    const publisher = { packageName: 'pub', settings: { a: 1 } };
    const catalog = [host, known('app', '1.2.0'), known('app', '1.1.0'), known('pub', '3.0.0')];
    const made = desiredOf(instance('one', { messagePublisher: publisher }), { catalog });
    const { revision } = made;
    assert.deepEqual(
      [revision?.packageVersion, revision?.publisherVersion, revision?.hostVersion, revision?.restart],
      ['1.2.0', '3.0.0', '1.0.0', null],
    );
    assert.equal(revision?.instance.packageVersion, '1.2.0');
    const { request, settingsId } = made.start('0');
    assert.deepEqual(
      [request.version, request.hostVersion, request.messagePublisher?.packageVersion],
      ['1.2.0', '1.0.0', '3.0.0'],
    );
    assert.match(settingsId, /^one\/0\/[0-9a-f]{12}$/);
    assert.match(made.revisionId ?? '', /^[0-9a-f]{12}$/);
  });

  it('changes with what a copy runs, and with nothing else', () => {
    const before = desiredOf(instance('one'));
    const same = [
      instance('one', { instances: 5, resources: { weight: 3 }, constraints: { labels: { zone: 'x' } } }),
      instance('one', { update: { maxSurge: 0, strategy: 'canary' } }),
      instance('one', { packageVersion: '1.0.0' }),
    ];
    for (const settings of same) {
      assert.equal(desiredOf(settings).revisionId, before.revisionId);
      assert.equal(desiredOf(settings).start('0').settingsId, before.start('0').settingsId);
    }
    const other = [
      desiredOf(instance('one', { settings: { a: 1 } })),
      desiredOf(instance('one', { health: { livenessMs: 5_000 } })),
      desiredOf(instance('one'), { restarts: { one: 'again' } }),
      desiredOf(instance('one'), { catalog: [host, known('app', '1.0.0', { sha256: 'other' })] }),
      desiredOf(instance('one'), { catalog: [{ ...host, packageVersion: '1.1.0' }, known('app')] }),
    ];
    for (const made of other) {
      assert.notEqual(made.revisionId, before.revisionId);
      assert.notEqual(made.start('0').settingsId, before.start('0').settingsId);
    }
  });

  it('asks for health checks only where they are not the usual ones', () => {
    assert.equal(desiredOf(instance('one')).start('0').request.health, undefined);
    const watched = desiredOf(instance('one', { health: { http: { port: 80 } } }));
    assert.equal(watched.start('0').request.health?.http?.port, 80);
  });

  it('is the same for all slots, though each has a port of its own', () => {
    const two = desiredOf(instance('one', { instances: 2, ports: [9001, 9002] }));
    assert.notEqual(
      two.start('0').settingsId.split('/')[2],
      two.start('1').settingsId.split('/')[2],
      'a copy with another port is another copy',
    );
    const three = desiredOf(instance('one', { instances: 3, ports: [9001, 9002, 9003] }));
    assert.equal(
      three.start('1').settingsId,
      two.start('1').settingsId,
      'a port that is added restarts nothing',
    );
  });

  it('recalls the revision before, with the packages that it had', () => {
    const catalog = [host, known('app', '1.0.0'), known('app', '2.0.0')];
    const before = desiredOf(instance('one', { packageVersion: '1.0.0', settings: { a: 1 } }), { catalog });
    const after = desiredOf(instance('one'), { catalog, previous: before });
    assert.equal(after.packages?.component.packageVersion, '2.0.0');
    assert.equal(after.previous?.revisionId, before.revisionId);
    assert.equal(after.previous?.start('3').settingsId, before.start('3').settingsId);
    const gone = desiredOf(instance('one'), { catalog: [host, known('app', '2.0.0')], previous: before });
    assert.equal(gone.previous, null, 'its package is not known any more');
    const back = desiredOf(instance('one', { packageVersion: '1.0.0', settings: { a: 1 } }), {
      catalog,
      previous: before,
    });
    assert.equal(back.previous, null, 'a rollback is no change at all');
  });
});
