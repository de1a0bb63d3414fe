/**
 * The wire contract, gone through as a stranger would who has nothing but the documents: every row of every API, every
 * status, and each sentence of docs/api.md that can be seen from outside.
 */
import { startCluster, type Cluster } from '../support/cluster.ts';
import { componentHostContract } from './contract/component-host.ts';
import { startLoneNode, type LoneNode } from './contract/lone-node.ts';
import { keysContract } from './contract/keys.ts';
import { masterContract } from './contract/master.ts';
import { nodeApiContract } from './contract/node-api.ts';
import { routerContract, routerLimits } from './contract/router.ts';
import { settingsContract } from './contract/settings.ts';
import { bootstrapContract } from './contract/bootstrap.ts';

describe('the wire contract', function () {
  this.timeout(60_000);

  describe('of a cluster', () => {
    let cluster: Cluster;
    before(async () => {
      cluster = await startCluster({
        nodes: 2,
        edit(document) {
          Object.assign(document, { clusterName: 'contract', sessionTtlMs: 1_000, holdMs: 3_000 });
          for (const { packageName, settings } of document.componentInstances) {
            if (packageName === 'router') Object.assign(settings as object, routerLimits);
          }
          document.componentInstances.find(({ id }) => id === 'databases')!.instances = 2;
        },
      });
    });
    after(async () => {
      await cluster?.dispose();
    });

    describe('master API', () => masterContract(() => cluster));
    describe('keys of the master API', () => keysContract(() => cluster));
    describe('router', () => routerContract(() => cluster));
    describe('settings file', () => settingsContract(() => cluster));
  });

  describe('of an agent without a manager', () => {
    let node: LoneNode;
    before(async () => {
      node = await startLoneNode();
    });
    after(async () => {
      await node?.dispose();
    });

    describe('node API', () => nodeApiContract(() => node));
    describe('component host', () => componentHostContract(() => node));
    describe('bootstrap', () => bootstrapContract(() => node));
  });
});
