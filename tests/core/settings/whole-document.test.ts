/** A document that uses everything the settings have, written as a person writes it. */
import assert from 'node:assert/strict';
import { parseSettings } from '#core';

const text = `{
  "$schema": "./core/settings/cluster-settings.schema.json",
  "clusterName": "demo",
  "coordination": { "kind": "embedded" },            // on one machine
  "syncIntervalMs": 50000,
  "managers": 1, "sessionTtlMs": 5000, "holdMs": 8000, "orphanGraceMs": 30000, "warmSpares": 1,
  "componentHostPackageName": "component-host",
  "nodePackages":      [{ "name": "component-host", "version": "1.0.0", "packagePath": "build/packages/component-host-1.0.0.zip" }],
  "componentPackages": [
    { "name": "sqlite-service", "version": "1.0.0", "packagePath": "build/packages/sqlite-service-1.0.0.zip" },
    { "name": "basic-publisher", "version": "1.0.0" },
  ],
  "nodeServers": [{ "networkName": "node-1", "networkIp": "127.0.0.1", "nodeApiUri": "http://127.0.0.1:5101",
                    "capacity": 16, "labels": { "zone": "a" } }],
  "componentInstances": [{
    "id": "databases", "packageName": "sqlite-service", "packageVersion": "1.0.0",
    "instances": 3,                                  // or "perNode" (a copy on every node)
    "settings": { "directory": "./data" },
    "messagePublisher": { "packageName": "basic-publisher", "packageVersion": "1.0.0", "settings": {} },
    "constraints": { "labels": { "zone": "a" }, "spread": "zone", "antiAffinity": ["other-id"] },
    "resources": { "memoryMb": 256, "weight": 1 },
    "restart": { "maxAttempts": 5, "windowMs": 60000, "backoffMs": 200, "backoffMaxMs": 10000 },
    "update": { "strategy": "rolling", "maxUnavailable": 1, "healthyAfterMs": 2000, "deadlineMs": 60000, "autoRollback": true },
    "env": { "PLAIN": "text", "SECRET": { "secretRef": "name" } },
    "concurrency": 8, "idleMs": 0, "onAuthorityLoss": "stop", "ports": [7001, 7002, 7003]
  }, { "id": "other-id", "packageName": "sqlite-service", "instances": "perNode" }],
  "routes": [{ "pathPrefix": "/db", "componentInstanceId": "databases",
               "resourceKey": { "from": "path", "segments": 2 } },
             { "pathPrefix": "/tenant", "componentInstanceId": "databases",
               "resourceKey": { "from": "header:x-tenant" } }]
}`;

describe('settings that use everything', () => {
  it('are accepted without a warning', () => {
    const { settings, warnings } = parseSettings(text, new Set());
    assert.deepEqual(warnings, []);
    assert.equal(settings.componentInstances[0]!.restart.backoffMaxMs, 10_000);
  });

  it('say how long a key may idle, and what happens when the store is away', () => {
    const { settings } = parseSettings(
      text.replace(
        '"idleMs": 0, "onAuthorityLoss": "stop"',
        '"idleMs": 5000, "onAuthorityLoss": "serveFenced"',
      ),
      new Set(),
    );
    const [databases, other] = settings.componentInstances;
    assert.deepEqual([databases!.idleMs, databases!.onAuthorityLoss], [5_000, 'serveFenced']);
    assert.deepEqual([other!.idleMs, other!.onAuthorityLoss], [0, 'stop']);
  });
});
