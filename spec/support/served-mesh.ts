// Three nodes of a network with a secret, all linked, that serve each other all the time: what an attack costs is read from
// what goes on meanwhile.

import { once } from 'node:events';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createNode, type Node, type NodeOptions, type Socket } from '../../lib/index.js';
import { turn, turnsUntil } from './turns.js';

const STREAMS = 8;
const ECHO = Buffer.alloc(64, 0x65);

export class ServedMesh {
  readonly nodes: Node[] = [];
  /** Where each node listens: by tls for the other nodes, by tcp for attackers. */
  readonly addresses: Array<{ tls: string; tcp: string }> = [];
  /** Codes of what each node warned of, those of links that broke off included. */
  readonly warnings: string[][] = [[], [], []];
  /** Links between the three that were lost. */
  readonly lost: string[] = [];
  /** Peers whose links ended, and why. */
  readonly unlinked = new Map<string, string | undefined>();
  private readonly sockets: Socket[] = [];
  /** What each echo took, in turns of the event loop. */
  private samples: number[] = [];
  private turns = 0;
  private isOpen = true;
  /** Set when something happens that must not. */
  fault: Error | undefined;

  static async of(secret: string, options: NodeOptions = {}): Promise<ServedMesh> {
    const mesh = new ServedMesh();
    for (let index = 0; index < 3; index++)
      await mesh.add(createNode({ secret, closeTimeoutMs: 200, ...options }), index);
    const [one, two] = mesh.nodes;
    await Promise.all([
      one.join(mesh.addresses[1].tls),
      one.join(mesh.addresses[2].tls),
      two.join(mesh.addresses[2].tls),
    ]);
    await one.waitFor('echo');
    mesh.count();
    for (let stream = 0; stream < STREAMS; stream++) await mesh.serve();
    return mesh;
  }

  /** What the slowest of a hundred echoes takes while `attack` goes on, and until there are `atLeast` of them, in turns. */
  async during(atLeast: number, attack: () => Promise<unknown> = async () => {}): Promise<number> {
    this.samples = [];
    await attack();
    await turnsUntil(`${atLeast} echoes`, () => this.samples.length >= atLeast || this.fault !== undefined, 10_000_000);
    if (this.fault !== undefined) throw this.fault;
    return percentile(this.samples);
  }

  /** Is every node linked to both others? */
  get isWhole(): boolean {
    const ids = this.nodes.map(({ id }) => id);
    return this.nodes.every((node) => {
      const linked = new Set(node.links().map(({ peerId }) => peerId));
      return ids.every((id) => id === node.id || linked.has(id));
    });
  }

  async close(): Promise<void> {
    this.isOpen = false;
    for (const socket of this.sockets) socket.destroy();
    await Promise.all(this.nodes.map((node) => node.close()));
  }

  private async add(node: Node, index: number): Promise<void> {
    this.nodes.push(node);
    const [tls, tcp] = [await node.listenAndServe('tls://127.0.0.1:0'), await node.listenAndServe('tcp://127.0.0.1:0')];
    this.addresses.push({ tls: tls.address, tcp: tcp.address });
    node.on('warning', (error) => this.warnings[index].push((error as { code?: string }).code ?? error.message));
    node.on('unlink', ({ peerId }, reason) => {
      if (this.isOpen && this.nodes.some(({ id }) => id === peerId)) this.lost.push(`${node.id} ${peerId}`);
      this.unlinked.set(peerId, (reason as { code?: string } | undefined)?.code);
    });
    node.bind(index === 2 ? 'echo' : `echo-${index}`, (socket) => socket.on('error', () => {}).pipe(socket));
    node.bind('silent', (socket) => socket.on('error', () => {}));
  }

  /** One echo after the other, for as long as the mesh is there. */
  private async serve(): Promise<void> {
    const socket = this.nodes[0].dial('echo');
    this.sockets.push(socket);
    socket.on('error', (error) => {
      if (this.isOpen) this.fault ??= error;
    });
    await once(socket, 'connect');
    let left = 0;
    let sentTurn = 0;
    const send = (): void => {
      left = ECHO.length;
      sentTurn = this.turns;
      socket.write(ECHO);
    };
    socket.on('data', (chunk: Buffer) => {
      left -= chunk.length;
      if (left > 0) return;
      this.samples.push(this.turns - sentTurn);
      if (this.isOpen) setImmediate(send);
    });
    send();
  }

  private count(): void {
    this.turns++;
    if (this.isOpen) setImmediate(() => this.count());
  }
}

function percentile(values: number[]): number {
  return values.sort((one, other) => one - other)[Math.floor(values.length * 0.99)];
}

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** Bytes in use, of what the collector knows. */
export async function bytesInUse(): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  // Other threads free the memory of buffers, when they get to it: until no less is found twice.
  for (let inVain = 0; inVain < 2; ) {
    gc();
    for (let turns = 0; turns < 10; turns++) await turn();
    const { heapUsed, external } = process.memoryUsage();
    const bytes = heapUsed + external;
    inVain = bytes < 0.99 * least ? 0 : inVain + 1;
    least = Math.min(least, bytes);
  }
  return least;
}
