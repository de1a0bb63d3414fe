/** The networks that tests of several machines stand on: a fault that does nothing would make them pass for nothing. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createNetwork, lacksNetworks, type Machine, type TestNetwork } from '../support/netns.ts';
import { skipLoudly } from '../support/skip-loudly.ts';

const port = 7_001;

/** Sends back every datagram. */
const echo = (address: string) => `
  const socket = require('dgram').createSocket('udp4');
  socket.on('message', (message, from) => socket.send(message, from.port, from.address));
  socket.bind(${port}, '${address}', () => console.log('listens'));`;

/** Sends datagrams, and prints how many came back. */
const ask = (address: string, count: number) => `
  const socket = require('dgram').createSocket('udp4');
  let [sent, received] = [0, 0];
  const end = () => { console.log(received); process.exit(0); };
  socket.on('message', () => { if (++received === ${count}) end(); });
  socket.on('error', () => {});
  const timer = setInterval(() => {
    if (sent++ < ${count}) return socket.send('x', ${port}, '${address}');
    clearInterval(timer);
    setTimeout(end, 500);
  }, 5);`;

describe('networks of several machines', function () {
  this.timeout(60_000);
  let network: TestNetwork;
  let a: Machine;
  let b: Machine;
  let c: Machine;
  const servers: ChildProcess[] = [];
  let here: Socket;

  before(async function () {
    const reason = lacksNetworks();
    if (reason) skipLoudly(this, reason);
    network = await createNetwork(['a', 'b', 'c']);
    [a, b, c] = network.machines as [Machine, Machine, Machine];
    for (const machine of network.machines) {
      const server = network.spawn(machine, process.execPath, ['-e', echo(machine.address)]);
      servers.push(server);
      await once(server.stdout!, 'data');
    }
    here = createSocket('udp4').bind(port, network.gateway);
    here.on('message', (message, from) => here.send(message, from.port, from.address));
    await once(here, 'listening');
  });
  after(async () => {
    here?.close();
    for (const server of servers) {
      const ended = once(server, 'exit');
      server.kill('SIGKILL');
      await ended;
    }
    await network?.dispose();
  });
  afterEach(() => network.heal());

  async function answers(from: Machine, address: string, count: number): Promise<number> {
    return Number(await network.run(from, process.execPath, ['-e', ask(address, count)]));
  }
  const reaches = async (from: Machine, address: string) => (await answers(from, address, 1)) === 1;

  it('connect everybody with everybody, this process too', async () => {
    assert(await reaches(a, b.address));
    assert(await reaches(b, c.address));
    assert(await reaches(c, network.gateway));
  });

  it('can be cut between two, and healed', async () => {
    await network.partition(a, b);
    assert(!(await reaches(a, b.address)) && !(await reaches(b, a.address)));
    assert((await reaches(a, c.address)) && (await reaches(c, b.address)));
    await network.heal();
    assert(await reaches(a, b.address));
    await network.partition(a, network.gateway);
    assert(!(await reaches(a, network.gateway)));
    assert(await reaches(b, network.gateway));
  });

  it('can be cut around one', async () => {
    await network.isolate(a);
    assert(!(await reaches(a, b.address)) && !(await reaches(a, network.gateway)));
    assert(!(await reaches(c, a.address)));
    assert(await reaches(b, c.address));
  });

  it('can lose a part of what is sent', async () => {
    await network.lose(b, 50);
    const received = await answers(a, b.address, 100);
    // Outside of this with a probability below one in a million.
    assert(received >= 25 && received <= 75, `${received} of 100`);
    assert.equal(await answers(a, c.address, 20), 20);
  });
});
