// Measures the way to a service: how long a dial takes, how long a small message takes in an idle network and beside bulk, and how many
// bytes a second arrive. Bulk comes from the node of the service (GET /v1/source of its queries), or through the service if that echoes.

import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { QUERY_PORT } from '../../circuit/bindings.js';
import { codeOf } from '../../errors.js';
import type { Node } from '../../node/node.js';
import { nodeOf, pingNode } from '../../node/queries/client.js';
import type { Socket } from '../../socket/socket.js';
import { Failure } from '../failure.js';

export interface Plan {
  readonly target: string;
  /** For each of the three parts. */
  readonly durationMs: number;
  /** Streams with bulk. */
  readonly streams: number;
  /** Whether the service sends back what it gets. */
  readonly isEcho: boolean;
  readonly signal: AbortSignal;
}

export type Step =
  /** How far a part is, 0 to 1. */
  { readonly part: Part; readonly done: number } | { readonly result: BenchResult };

export type Part = 'dials' | 'echoes' | 'bulk';

/** Times of many tries, in ms. */
export interface Times {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface BenchResult {
  readonly target: string;
  readonly nodeId: string;
  readonly via: readonly string[];
  readonly dials: Times & { readonly perSecond: number };
  /** Round trips while nothing else goes on. */
  readonly idle: Times;
  /** The same beside the bulk. */
  readonly loaded: Times;
  /** Null when the node does not let this one ask for it. */
  readonly bulk: {
    readonly streams: number;
    readonly bytes: number;
    readonly bytesPerSecond: number;
    readonly from: 'node' | 'echo';
  } | null;
}

const REPORT_MS = 100;
const SOURCE_BYTES = 1024 * 1024 * 1024;
const DIAL_MS = 10_000;
const SAMPLES = 10;
const PING_PAUSE_MS = 300;
const CHUNK = Buffer.alloc(64 * 1024);

/** @throws what a dial fails with */
export async function* measure(node: Node, plan: Plan): AsyncGenerator<Step> {
  const { target, durationMs } = plan;
  if (!(durationMs >= 1 && plan.streams >= 1)) throw new Failure('the duration and the streams must be 1 at least');
  const isNode = target.startsWith('@') || node.members().some(({ name }) => name === target);
  const nodeId = nodeOf(node, target);
  const address = isNode ? `@${nodeId}:${QUERY_PORT}` : target;
  const dials: number[] = [];
  let via: readonly string[] = [];
  const dialsBegan = performance.now();
  yield* during('dials', plan, async () => {
    const began = performance.now();
    const socket = await connected(node.dial(address, { timeoutMs: DIAL_MS, signal: plan.signal }));
    dials.push(performance.now() - began);
    via = socket.peer?.via ?? [];
    socket.destroy();
  });
  const dialsMs = performance.now() - dialsBegan;
  const ping = async (to: number[]) => {
    // A node answers 50 queries of one caller a second.
    const [answer] = await Promise.all([
      pingNode(node, `@${nodeId}`, { samples: SAMPLES, signal: plan.signal }),
      wait(PING_PAUSE_MS),
    ]);
    to.push(...answer.samplesMs);
  };
  const idle: number[] = [];
  yield* during('echoes', plan, () => ping(idle));
  const bulk = new Bulk(node, plan, address, nodeId);
  const loaded: number[] = [];
  let bulkMs = 0;
  let isBulk = true;
  try {
    isBulk = await bulk.start().then(
      () => true,
      (error) => {
        if (codeOf(error) !== 'EACCES') throw error;
        return false;
      },
    );
    const began = performance.now();
    const before = bulk.bytes;
    if (isBulk) yield* during('bulk', plan, () => Promise.race([ping(loaded), bulk.failed]));
    bulkMs = performance.now() - began;
    bulk.count = bulk.bytes - before;
  } finally {
    bulk.stop();
  }
  yield {
    result: {
      target,
      nodeId,
      via,
      dials: { ...timesOf(dials), perSecond: (dials.length / dialsMs) * 1_000 },
      idle: timesOf(idle),
      loaded: timesOf(loaded),
      bulk: !isBulk
        ? null
        : {
            streams: plan.streams,
            bytes: bulk.count,
            bytesPerSecond: (bulk.count / bulkMs) * 1_000,
            from: plan.isEcho ? 'echo' : 'node',
          },
    },
  };
}

/** Does something again and again for the time of a part, and once at least. */
async function* during(part: Part, { durationMs, signal }: Plan, action: () => Promise<unknown>): AsyncGenerator<Step> {
  const began = performance.now();
  let reported = began;
  yield { part, done: 0 };
  do {
    signal.throwIfAborted();
    await action();
    const now = performance.now();
    if (now - reported < REPORT_MS) continue;
    reported = now;
    yield { part, done: Math.min(1, (now - began) / durationMs) };
    // Others have their turn as well.
    await wait(0);
  } while (performance.now() - began < durationMs);
  yield { part, done: 1 };
}

/** Streams that bring as many bytes as they can. */
class Bulk {
  bytes = 0;
  /** Of the time that is measured. */
  count = 0;
  readonly failed: Promise<never>;
  private fail: (error: Error) => void = () => {};
  private readonly sockets: Socket[] = [];
  private isStopped = false;

  constructor(
    private readonly node: Node,
    private readonly plan: Plan,
    private readonly address: string,
    private readonly nodeId: string,
  ) {
    this.failed = new Promise<never>((_resolve, reject) => {
      this.fail = reject;
    });
    this.failed.catch(() => {});
  }

  /** Resolves when the first bytes of each have come. */
  async start(): Promise<void> {
    const { node, plan, address, nodeId } = this;
    const all = Array.from({ length: plan.streams }, async () => {
      const to = plan.isEcho ? address : `@${nodeId}:${QUERY_PORT}`;
      const socket = await connected(node.dial(to, { timeoutMs: DIAL_MS, signal: plan.signal }));
      this.sockets.push(socket);
      const first = once(socket, 'data');
      socket.on('data', (chunk: Buffer) => {
        this.bytes += chunk.length;
      });
      socket.on('error', (error) => this.fail(error));
      socket.once('close', () => {
        if (!this.isStopped) this.fail(new Failure(`${plan.target} ended a stream; without --echo, is it an echo?`));
      });
      if (plan.isEcho) this.send(socket);
      else socket.write(`GET /v1/source?bytes=${SOURCE_BYTES} HTTP/1.1\r\nHost: node\r\n\r\n`);
      const [head] = (await Promise.race([first, this.failed])) as [Buffer];
      const refusal = /^HTTP\/1.1 403/.test(head.toString('latin1', 0, 16));
      if (!plan.isEcho && refusal) {
        throw Object.assign(new Failure(`@${nodeId} does not let this node ask for bulk (its option queries)`), {
          code: 'EACCES',
        });
      }
    });
    await Promise.all(all);
  }

  stop(): void {
    this.isStopped = true;
    for (const socket of this.sockets) socket.destroy();
  }

  private send(socket: Socket): void {
    while (!socket.destroyed && socket.write(CHUNK));
    socket.once('drain', () => this.send(socket));
  }
}

async function connected(socket: Socket): Promise<Socket> {
  await once(socket, 'connect');
  return socket;
}

function timesOf(samples: number[]): Times {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { count: sorted.length, p50Ms: at(0.5), p99Ms: at(0.99) };
}
