// One of the processes of bench:rest, started by main.mjs: `worker.mjs node | peers | timer`. The node is what is measured; the
// nodes at the other ends of its links share a process; and one has nothing but a timer, to measure what a wake-up costs here.

import { once } from 'node:events';
import net from 'node:net';
import v8 from 'node:v8';
import vm from 'node:vm';
import { createNode } from '../../dist/index.js';
import { pause } from '../deadline.mjs';
import { answerRequests } from '../requests.mjs';

const CHUNK = Buffer.alloc(64 * 1024, 'starlane');
const STREAMS = 100;
const AT_ONCE = 500;
/** A connection of TCP leaves its port in TIME_WAIT, and there are 28,000 of them towards one port. */
const TCP_PORTS = 8;

/** @type {import('../../dist/index.js').Node[]} */
let nodes = [];
/** How the peers reach the service. @type {(turn: number) => import('node:net').Socket | import('../../dist/index.js').Socket} */
let dial;

/** @param {import('node:stream').Duplex} socket */
const sink = (socket) => socket.on('end', () => socket.end()).resume();

/** What main.mjs may ask for; each answers with one message. @type {Record<string, (request: any) => Promise<object>>} */
const requests = {
  async serveTcp() {
    const servers = Array.from({ length: TCP_PORTS }, () => net.createServer(sink).listen(0, '127.0.0.1'));
    await Promise.all(servers.map((server) => once(server, 'listening')));
    return { type: 'serving', ports: servers.map((server) => /** @type {net.AddressInfo} */ (server.address()).port) };
  },

  async useTcp({ ports }) {
    dial = (turn) => net.connect(ports[turn % TCP_PORTS], '127.0.0.1');
    return { type: 'ready' };
  },

  async serve() {
    const node = createNode();
    node.bind('sink', sink);
    nodes = [node];
    return { type: 'serving', address: (await node.listenAndServe('tcp://127.0.0.1:0')).address };
  },

  async join({ address, links }) {
    // Servers make no links by themselves.
    nodes = Array.from({ length: links }, () => createNode({ role: 'server' }));
    await Promise.all(nodes.map((node) => node.join(address)));
    await Promise.all(nodes.map((node) => node.waitFor('sink')));
    dial = (turn) => nodes[turn % links].dial('sink');
    return { type: 'joined' };
  },

  async tick({ everyMs }) {
    setInterval(() => {}, everyMs);
    return { type: 'ticking' };
  },

  /** CPU time and wake-ups of this process while it is idle. */
  async rest({ ms }) {
    const cpu = process.cpuUsage();
    const switches = process.resourceUsage().voluntaryContextSwitches;
    const begin = performance.now();
    await pause(ms);
    const { user, system } = process.cpuUsage(cpu);
    const seconds = (performance.now() - begin) / 1000;
    return {
      type: 'rested',
      cpuPercent: (user + system) / 1e4 / seconds,
      wakeUps: (process.resourceUsage().voluntaryContextSwitches - switches) / seconds,
      links: nodes.reduce((sum, node) => sum + node.links().length, 0),
    };
  },

  async bulk({ ms }) {
    const until = performance.now() + ms;
    const sockets = Array.from({ length: STREAMS }, (_, i) => dial(i));
    const closed = sockets.map((socket) => once(socket.resume(), 'close'));
    for (const socket of sockets) {
      const pump = () => {
        while (performance.now() < until) if (!socket.write(CHUNK)) return;
        if (!socket.writableEnded) socket.end();
      };
      socket.on('drain', pump);
      pump();
    }
    await Promise.all(closed);
    return { type: 'sent', bytes: sockets.reduce((sum, socket) => sum + socket.bytesWritten, 0) };
  },

  async churn({ streams }) {
    let opened = 0;
    const openOn = async () => {
      while (opened < streams) {
        const socket = dial(opened++);
        const closed = once(socket.resume(), 'close');
        socket.end('x');
        await closed;
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, openOn));
    return { type: 'churned' };
  },

  async memory({ collects }) {
    if (collects) {
      v8.setFlagsFromString('--expose-gc');
      const collect = vm.runInNewContext('gc');
      collect();
      await pause(1_000);
      collect();
      // V8 gives pages back on a thread of its own.
      await pause(1_000);
    }
    const { rss, heapUsed, external } = process.memoryUsage();
    return { type: 'memory', rss, heapUsed, external };
  },
};

answerRequests(requests);
