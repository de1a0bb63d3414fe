/** The manager's figures for Prometheus. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { ApiEvent, JobInfo, MasterStatus, NodeReachability } from '#core';

export interface ManagerMetrics {
  /** Counts syncs and actions. */
  onEvent(event: ApiEvent): void;
  text(status: MasterStatus, jobs: readonly JobInfo[]): Promise<string>;
}

const states: NodeReachability[] = ['ready', 'suspect', 'dead', 'unknown'];

export function createMetrics(): ManagerMetrics {
  const registers = [new Registry()];
  const leading = new Gauge({
    name: 'holdfast_manager_leading',
    help: '1 while this manager leads.',
    registers,
  });
  const managers = new Gauge({ name: 'holdfast_managers', help: 'Node managers that run.', registers });
  const paused = new Gauge({
    name: 'holdfast_reconciliation_paused',
    help: '1 while an operator has paused reconciliation.',
    registers,
  });
  const maintenance = new Gauge({
    name: 'holdfast_node_maintenance',
    help: '1 for each node that is cordoned or drains, by which of them.',
    labelNames: ['node', 'state'],
    registers,
  });
  const pressure = new Gauge({
    name: 'holdfast_node_pressure',
    help: '1 for each node that is short of something, by what.',
    labelNames: ['node', 'kind'],
    registers,
  });
  const flapping = new Gauge({
    name: 'holdfast_node_flapping',
    help: '1 for each node that comes and goes.',
    labelNames: ['node'],
    registers,
  });
  const clusterEvenness = new Gauge({
    name: 'holdfast_cluster_evenness',
    help: 'Mean of the evenness of the nodes that answer, 0 to 1.',
    registers,
  });
  const evennessBest = new Gauge({
    name: 'holdfast_cluster_evenness_best',
    help: 'What no placement that is fair to every node exceeds, 0 to 1.',
    registers,
  });
  const evennessScore = new Gauge({
    name: 'holdfast_cluster_evenness_score',
    help: 'Evenness of the cluster by the best, 0 to 1.',
    registers,
  });
  const nodeEvenness = new Gauge({
    name: 'holdfast_node_evenness',
    help: "Pielou's J' of the component types on a node, 0 to 1.",
    labelNames: ['node'],
    registers,
  });
  const nodes = new Gauge({
    name: 'holdfast_nodes',
    help: 'Nodes by state.',
    labelNames: ['state'],
    registers,
  });
  const desired = new Gauge({
    name: 'holdfast_instance_desired',
    help: 'Copies that an instance shall have.',
    labelNames: ['instance'],
    registers,
  });
  const running = new Gauge({
    name: 'holdfast_instance_running',
    help: 'Started copies of the desired version and settings.',
    labelNames: ['instance'],
    registers,
  });
  const refused = new Gauge({
    name: 'holdfast_settings_refused',
    help: '1 while the newest settings are refused and older ones hold.',
    registers,
  });
  const syncs = new Histogram({
    name: 'holdfast_sync_duration_seconds',
    help: 'Time of a sync: observe, plan, apply.',
    buckets: [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30],
    registers,
  });
  const actions = new Counter({
    name: 'holdfast_actions_total',
    help: 'Actions by type and result.',
    labelNames: ['type', 'result'],
    registers,
  });
  const deployments = new Counter({
    name: 'holdfast_deployments_total',
    help: 'Deployments that ended, by how.',
    labelNames: ['outcome'],
    registers,
  });
  const deploying = new Gauge({
    name: 'holdfast_deployments_active',
    help: 'Deployments under way, by state.',
    labelNames: ['state'],
    registers,
  });

  const jobRuns = new Counter({
    name: 'holdfast_job_attempts_total',
    help: 'Attempts of runs that ended, by job and outcome.',
    labelNames: ['job', 'outcome'],
    registers,
  });
  const jobsActive = new Gauge({
    name: 'holdfast_job_active',
    help: '1 while a run of the job is under way.',
    labelNames: ['job'],
    registers,
  });
  const jobSuccess = new Gauge({
    name: 'holdfast_job_last_success_timestamp_seconds',
    help: 'When a run of the job succeeded last.',
    labelNames: ['job'],
    registers,
  });

  return {
    onEvent(event) {
      if (event.type === 'job' && event.what === 'ended') {
        jobRuns.inc({ job: String(event.instanceId), outcome: String(event.outcome) });
      }
      if (event.type === 'deployment' && event.ended) deployments.inc({ outcome: String(event.state) });
      if (event.type === 'sync') syncs.observe(Number(event.durationMs) / 1000);
      if (event.type === 'action') actions.inc({ type: String(event.action), result: String(event.result) });
    },
    text(status, jobs) {
      leading.set(Number(status.isLeader));
      clusterEvenness.set(status.evenness);
      evennessBest.set(status.evennessBest);
      evennessScore.set(status.evennessScore);
      refused.set(Number(status.settingsError !== null));
      managers.set(status.managers.length);
      paused.set(Number(status.reconciliationPaused !== null));
      for (const gauge of [
        pressure,
        flapping,
        maintenance,
        nodeEvenness,
        nodes,
        desired,
        running,
        deploying,
        jobsActive,
        jobSuccess,
      ])
        gauge.reset();
      for (const { instanceId: job, active, succeededAt } of jobs) {
        jobsActive.set({ job }, Number(active !== null));
        if (succeededAt !== null) jobSuccess.set({ job }, Date.parse(succeededAt) / 1000);
      }
      for (const state of states)
        nodes.set({ state }, status.nodes.filter(node => node.state === state).length);
      for (const node of status.nodes) {
        for (const { kind } of node.pressure) pressure.set({ node: node.networkName, kind }, 1);
        if (node.flapping) flapping.set({ node: node.networkName }, 1);
        if (node.maintenance) maintenance.set({ node: node.networkName, state: node.maintenance.state }, 1);
      }
      for (const node of status.nodes) nodeEvenness.set({ node: node.networkName }, node.evenness);
      for (const instance of status.instances) {
        desired.set({ instance: instance.id }, instance.desired);
        running.set({ instance: instance.id }, instance.running);
        if (instance.deployment) deploying.inc({ state: instance.deployment.state });
      }
      return registers[0]!.metrics();
    },
  };
}
