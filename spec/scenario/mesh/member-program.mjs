// One node of a mesh in a separate process. It runs commands in JSON lines, `{ id, do, ... }`, answers each with
// `{ id, ... }`, and reports events of its streams: broken streams, and wrong or missing bytes.

import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { bytesAt, HEADER_BYTES, headerOf, seedOf } from './traffic.mjs';

const CHUNK_BYTES = 8 * 1024;
const EVERY_MS = 5;

/**
 * @param {any} starlane the library
 * @param {(line: object) => void} say
 */
export function member(starlane, say) {
  /** @type {any} */
  let node;
  /** Streams opened here that have not ended. @type {Map<number, any>} */
  const streams = new Map();

  /** A stream under load: sends bytes at a steady pace, and checks that the same bytes come back. */
  class Traffic {
    constructor(key, socket) {
      this.key = key;
      this.socket = socket;
      this.sent = 0;
      this.received = 0;
      this.isBlocked = false;
      this.error = undefined;
      /** Waits for a number of echoed bytes. @type {{ enough: number, resolve: () => void, reject: (error: Error) => void }[]} */
      this.goals = [];
      socket.write(headerOf(key));
      socket.on('data', (chunk) => this.onData(chunk));
      socket.on('drain', () => {
        this.isBlocked = false;
      });
      socket.on('error', (error) => {
        this.error = error;
      });
      socket.on('close', () => {
        streams.delete(key);
        for (const { reject } of this.goals) reject(this.error ?? new Error(`stream ${key} is closed`));
        if (this.error !== undefined) say({ event: 'broken', key, code: this.error.code ?? null });
        else if (this.sent !== this.received) say({ event: 'short', key, sent: this.sent, received: this.received });
      });
    }

    onData(chunk) {
      if (!chunk.equals(bytesAt(this.key, this.received, chunk.length))) {
        say({ event: 'wrong', at: 'client', key: this.key, offset: this.received });
        this.socket.destroy();
      }
      this.received += chunk.length;
      this.goals = this.goals.filter(({ enough, resolve }) => {
        if (this.received < enough) return true;
        resolve();
        return false;
      });
    }

    pump() {
      if (this.isBlocked || this.socket.connecting || this.socket.writableEnded) return;
      this.isBlocked = !this.socket.write(bytesAt(this.key, this.sent, CHUNK_BYTES));
      this.sent += CHUNK_BYTES;
    }

    /** Until that much more than now has come back. */
    carries(bytes) {
      return new Promise((resolve, reject) => {
        this.goals.push({ enough: this.received + bytes, resolve, reject });
      });
    }
  }

  setInterval(() => {
    for (const stream of streams.values()) stream.pump();
  }, EVERY_MS);

  /** Sends back what arrives, if it is what must arrive. */
  function mirror(socket) {
    let seed;
    let head = Buffer.alloc(0);
    let offset = 0;
    const take = (chunk) => {
      if (!chunk.equals(bytesAt(seed, offset, chunk.length))) {
        say({ event: 'wrong', at: 'service', key: seed, offset });
        socket.destroy();
        return;
      }
      offset += chunk.length;
      if (!socket.write(chunk)) socket.pause();
    };
    socket.on('data', (chunk) => {
      if (seed !== undefined) {
        take(chunk);
        return;
      }
      head = Buffer.concat([head, chunk]);
      if (head.length < HEADER_BYTES) return;
      seed = seedOf(head);
      if (head.length > HEADER_BYTES) take(head.subarray(HEADER_BYTES));
    });
    socket.on('drain', () => socket.resume());
    socket.on('end', () => socket.end());
    socket.on('error', (error) => say({ event: 'lost', key: seed ?? null, code: error.code ?? null }));
  }

  /** @type {Record<string, (command: any) => Promise<object | void>>} */
  const commands = {
    async start({ options, listen, services }) {
      node = starlane.createNode(options);
      // Links that are lost are what this is about.
      node.on('warning', () => {});
      for (const service of services ?? []) node.bind(service, { allowHalfOpen: true }, mirror);
      const address = listen === undefined ? undefined : (await node.listenAndServe(listen)).address;
      return { nodeId: node.id, address };
    },
    async join({ address }) {
      await node.join(address);
    },
    async waitFor({ service, timeoutMs }) {
      const { hops } = await node.waitFor(service, { timeoutMs });
      return { hops };
    },
    /** Until the way to the service has so many hops. */
    async waitForHops({ service, hops }) {
      const { nodeId } = await node.waitFor(service);
      const routes = node.routesMap();
      while (routes.get(nodeId)?.hops !== hops) await once(routes, 'add');
    },
    /** Until as many nodes are within reach. */
    async knows({ nodes }) {
      const routes = node.routesMap();
      while ([...routes].length < nodes) await once(routes, 'add');
    },
    /** Until there is a link to that node. */
    async linked({ peerId }) {
      while (!node.links().some((link) => link.peerId === peerId)) await once(node, 'link');
    },
    /** Waits until the service is gone. */
    async forgets({ service }) {
      while (node.services().some((offered) => offered.service === service)) await once(node, 'unservice');
    },
    /** Streams that carry from now on. */
    async open({ service, keys }) {
      const opened = keys.map(async (key) => {
        const traffic = new Traffic(key, node.dial(service));
        streams.set(key, traffic);
        await traffic.carries(CHUNK_BYTES);
        return { key, via: traffic.socket.peer.via };
      });
      return { streams: await Promise.all(opened) };
    },
    async carry({ keys, bytes }) {
      await Promise.all(keys.map((key) => streams.get(key).carries(bytes)));
    },
    /** One dial, and how long it took to succeed or to fail. */
    async dial({ service, timeoutMs }) {
      const from = performance.now();
      const socket = node.dial(service, { timeoutMs });
      try {
        await once(socket, 'connect');
        const ms = performance.now() - from;
        const { via } = socket.peer;
        socket.destroy();
        return { ms, via };
      } catch (error) {
        return { ms: performance.now() - from, code: error.code ?? null, message: error.message };
      }
    },
    /** Ends the streams in order, once all that was sent has come back. */
    async finish() {
      const open = [...streams.values()];
      await Promise.all(
        open.map(async ({ socket }) => {
          const closed = new Promise((resolve) => socket.once('close', resolve));
          socket.end();
          await closed;
        }),
      );
      return { streams: open.length, bytes: open.reduce((sum, { received }) => sum + received, 0) };
    },
  };

  createInterface({ input: process.stdin }).on('line', (text) => {
    const command = JSON.parse(text);
    Promise.resolve(commands[command.do](command)).then(
      (answer) => say({ id: command.id, ...answer }),
      (error) => say({ id: command.id, failed: error.message }),
    );
  });
}
