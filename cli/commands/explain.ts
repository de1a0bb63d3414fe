/** `holdfast explain <instance>`: why its copies are where they are, and where the next one would go. */
import type { ExplainedNode, ExplainedSlot, InstanceExplanation } from '#core';
import { connectToCluster, type ConnectOptions } from '../cluster-location.ts';
import type { Environment } from '../environment.ts';
import { jsonLine, table } from '../output.ts';

export async function runExplain(
  instanceId: string,
  options: ConnectOptions & { json?: boolean },
  { cwd, stdout }: Environment,
): Promise<void> {
  const { master } = await connectToCluster(cwd, options);
  const explained = await master.explain(instanceId);
  stdout.write(options.json ? jsonLine(explained) : `${describeExplanation(explained)}\n`);
}

/** Pure. */
export function describeExplanation(explained: InstanceExplanation): string {
  const { instanceId, packageName, packageVersion, slots, nodes, problems } = explained;
  const version = packageVersion === null ? packageName : `${packageName} ${packageVersion}`;
  return [
    `${instanceId}: ${version}`,
    '',
    table([['SLOT', 'NODE', 'VERSION', 'STATE', 'DECISION', 'WHY'], ...slots.flatMap(slotRows)]),
    '',
    'Where the next copy would go, the best first:',
    table([
      ['NODE', ...groupTitle(nodes), 'COPIES', 'PER CAPACITY', 'LOAD', 'EVENNESS AFTER', 'OBSTACLE'],
      ...nodes.map(nodeRow),
    ]),
    ...(problems.length === 0 ? [] : ['', ...problems]),
  ].join('\n');
}

function slotRows({ slot, copies, starts }: ExplainedSlot): string[][] {
  const rows = copies.map(({ node, version, condition, decision, reason }) => [
    slot,
    node,
    version,
    condition,
    decision,
    reason,
  ]);
  if (starts) rows.push([slot, starts.node, starts.version ?? '', '', 'starts', starts.reason]);
  if (rows.length === 0) rows.push([slot, '', '', '', 'waits', 'see below']);
  return rows;
}

function groupTitle(nodes: readonly ExplainedNode[]): string[] {
  return nodes.some(({ group }) => group !== null) ? ['COPIES IN GROUP'] : [];
}

function nodeRow({
  node,
  group,
  copies,
  copiesPerCapacity,
  load,
  evennessAfter,
  obstacle,
}: ExplainedNode): string[] {
  return [
    node,
    ...(group ? [`${group.copies} in ${group.name || '(no label)'}`] : []),
    String(copies),
    copiesPerCapacity.toFixed(3),
    load.toFixed(3),
    evennessAfter.toFixed(3),
    obstacle ?? '',
  ];
}
