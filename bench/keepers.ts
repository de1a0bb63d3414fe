/** A cluster whose routes are `/db` (SQLite databases) and `/keep` (keepers: keys without files, so only the protocol is measured). */
import { startCluster, until, type Cluster, type Document } from '../tests/support/cluster.ts';
import { makeKeeperPackage } from '../tests/support/make-package.ts';

export async function startKeepers(
  instances: number,
  edit: (document: Document) => void = () => {},
): Promise<Cluster> {
  const cluster = await startCluster({
    edit(document) {
      document.componentInstances.push({ id: 'keepers', packageName: 'keeper', instances });
      document.routes.push({ pathPrefix: '/keep', componentInstanceId: 'keepers' });
      document.componentPackages.push({ name: 'keeper', version: '1.0.0' });
      for (const instance of document.componentInstances) {
        // Hosts that are killed on purpose, again and again, are no crash loop.
        if (/^(?:keepers|databases)$/.test(instance.id)) {
          instance.restart = { maxAttempts: 1_000, backoffMs: 100, backoffMaxMs: 100 };
        }
      }
      edit(document);
    },
  });
  try {
    const uploaded = await cluster.master('/api/master/packages', {
      method: 'PUT',
      headers: { 'content-type': 'application/zip' },
      body: new Uint8Array(makeKeeperPackage('1.0.0')),
    });
    if (!uploaded.ok) throw new Error(await uploaded.text());
    await whole(cluster, 'keepers', instances);
    return cluster;
  } catch (error) {
    await cluster.dispose();
    throw error;
  }
}

/** Resolves when so many of the instance run. */
export async function whole(cluster: Cluster, id: string, running: number): Promise<void> {
  await until(
    `${running} of ${id} run`,
    async () => (await cluster.status()).instances.find(instance => instance.id === id)?.running === running,
    60_000,
  );
}
