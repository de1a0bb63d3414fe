/**
 * Several machines on one: a network namespace for each, joined by a bridge that this process reaches too. Between them the network
 * can be cut, in one direction or both, or made lossy. Needs root on Linux, `ip` and `nft`; see `lacksNetworks`. Everything that it
 * makes is named after one random prefix and removed by `dispose`.
 */
import { execFile, spawn, spawnSync, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { promisify } from 'node:util';

export interface Machine {
  readonly name: string;
  /** IPv4. */
  readonly address: string;
  /** Name of its namespace, for `ip netns exec`. */
  readonly namespace: string;
}

export interface TestNetwork {
  readonly machines: readonly Machine[];
  /** Address of this process in the network. */
  readonly gateway: string;
  machine(name: string): Machine;
  /** Starts a program on a machine. It is the caller's to end before `dispose`. */
  spawn(machine: Machine, file: string, words: readonly string[], options?: SpawnOptions): ChildProcess;
  /** Runs a program on a machine to its end. @throws Error when it fails */
  run(machine: Machine, file: string, words: readonly string[]): Promise<string>;
  /** Nothing passes from `from` to `to` any more; the other direction is as it was. Addresses or machines. */
  drop(from: Machine | string, to: Machine | string): Promise<void>;
  /** Nothing passes between the two any more. */
  partition(one: Machine | string, other: Machine | string): Promise<void>;
  /** Nothing passes to or from this machine any more. */
  isolate(machine: Machine): Promise<void>;
  /** This share of what arrives at the machine is lost, 0 to 100. */
  lose(machine: Machine, percent: number): Promise<void>;
  /** The network is as at the beginning. */
  heal(): Promise<void>;
  /** Removes all of it. Idempotent. */
  dispose(): Promise<void>;
}

const execute = promisify(execFile);

/** Why there can be no networks here, null: there can. Tries it. */
export function lacksNetworks(): string | null {
  if (process.platform !== 'linux') return 'network namespaces need Linux';
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  for (const tool of ['ip', 'nft']) {
    if (spawnSync(tool, ['-V']).error) return `${tool} is not installed`;
  }
  const name = `hf-try-${randomInt(2 ** 32).toString(36)}`;
  const made = spawnSync('ip', ['netns', 'add', name]);
  if (made.status !== 0) return `namespaces cannot be made: ${made.stderr.toString().trim()}`;
  const rules = spawnSync('ip', ['netns', 'exec', name, 'nft', 'add', 'table', 'inet', 'try']);
  spawnSync('ip', ['netns', 'del', name]);
  return rules.status === 0 ? null : `nft does not work in a namespace: ${rules.stderr.toString().trim()}`;
}

export async function createNetwork(names: readonly string[]): Promise<TestNetwork> {
  const prefix = `hf${randomInt(36 ** 4).toString(36)}`; // names of interfaces have 15 characters at most
  const subnet = `10.${randomInt(200, 250)}.${randomInt(256)}`;
  const gateway = `${subnet}.1`;
  const machines: Machine[] = names.map((name, index) => ({
    name,
    address: `${subnet}.${index + 2}`,
    namespace: `${prefix}-${index + 2}`,
  }));
  const veth = (machine: Machine) => `${prefix}v${machine.address.split('.').at(-1)}`;
  let disposed: Promise<void> | null = null;

  async function build(): Promise<void> {
    await ip('link', 'add', prefix, 'type', 'bridge');
    await ip('address', 'add', `${gateway}/24`, 'dev', prefix);
    await ip('link', 'set', prefix, 'up');
    for (const machine of machines) {
      const { namespace, address } = machine;
      await ip('netns', 'add', namespace);
      await ip('link', 'add', veth(machine), 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
      await ip('link', 'set', veth(machine), 'master', prefix);
      await ip('link', 'set', veth(machine), 'up');
      await ip('-n', namespace, 'address', 'add', `${address}/24`, 'dev', 'eth0');
      await ip('-n', namespace, 'link', 'set', 'eth0', 'up');
      await ip('-n', namespace, 'link', 'set', 'lo', 'up');
      await resetRules(machine);
    }
  }

  function run(machine: Machine, file: string, words: readonly string[]): Promise<string> {
    return ip('netns', 'exec', machine.namespace, file, ...words);
  }

  /** A table of our own in the namespace, with a chain for each direction. */
  async function resetRules(machine: Machine): Promise<void> {
    const chain = (hook: string) =>
      `add chain inet faults ${hook} { type filter hook ${hook} priority 0; policy accept; }`;
    await run(machine, 'nft', ['flush', 'ruleset']);
    await run(machine, 'nft', [['add table inet faults', chain('input'), chain('output')].join('; ')]);
  }

  function rule(machine: Machine, chain: 'input' | 'output', ...words: string[]): Promise<string> {
    return run(machine, 'nft', ['add', 'rule', 'inet', 'faults', chain, ...words]);
  }

  async function drop(from: Machine | string, to: Machine | string): Promise<void> {
    const [source, target] = [from, to].map(end => (typeof end === 'string' ? end : end.address));
    // Where it arrives, or, when that is this process, where it leaves.
    const receiver = machines.find(machine => machine.address === target);
    const sender = machines.find(machine => machine.address === source);
    if (receiver) await rule(receiver, 'input', 'ip', 'saddr', source!, 'drop');
    else if (sender) await rule(sender, 'output', 'ip', 'daddr', target!, 'drop');
    else throw new Error(`neither ${source} nor ${target} is a machine of this network`);
  }

  async function remove(): Promise<void> {
    const attempts = [
      ...machines.flatMap(machine => [
        ['netns', 'del', machine.namespace],
        ['link', 'del', veth(machine)],
      ]),
      ['link', 'del', prefix],
    ];
    for (const words of attempts) await ip(...words).catch(() => {}); // it is gone, or was never made
  }

  const network: TestNetwork = {
    machines,
    gateway,
    machine(name) {
      const found = machines.find(machine => machine.name === name);
      if (!found) throw new Error(`no machine ${name}`);
      return found;
    },
    spawn: (machine, file, words, options = {}) =>
      spawn('ip', ['netns', 'exec', machine.namespace, file, ...words], options),
    run,
    drop,
    async partition(one, other) {
      await drop(one, other);
      await drop(other, one);
    },
    async isolate(machine) {
      await rule(machine, 'input', 'iifname', 'eth0', 'drop');
      await rule(machine, 'output', 'oifname', 'eth0', 'drop');
    },
    async lose(machine, percent) {
      await rule(
        machine,
        'input',
        'iifname',
        'eth0',
        'numgen',
        'random',
        'mod',
        '100',
        '<',
        String(percent),
        'drop',
      );
    },
    async heal() {
      for (const machine of machines) await resetRules(machine);
    },
    dispose: () => (disposed ??= remove()),
  };
  try {
    await build();
  } catch (error) {
    await network.dispose();
    throw error;
  }
  return network;
}

async function ip(...words: string[]): Promise<string> {
  const { stdout } = await execute('ip', words);
  return stdout;
}
