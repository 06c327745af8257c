// A port or a unix socket of this machine, of which each connection goes to a service.

import { createServer, type Server, type Socket } from 'node:net';
import { codeOf } from '../../errors.js';
import type { Break } from '../../socket/passage.js';
import { lineOf, usage } from '../failure.js';
import { checkedHost, isLoopback, type LocalAddress, shownAddress, splitLocal } from '../local/address.js';
import { listen, stopListening } from '../local/listening.js';
import { Passages } from '../local/passages.js';
import { SeldomLog } from '../local/seldom.js';
import type { Overlay } from '../run/overlay.js';
import { checkedTarget } from '../run/target.js';
import type { Task, TaskHost } from '../run/task.js';

export const MAX_CONNECTIONS = 10_000;
/** After so long without a byte, the kernel asks whether a client is still there. */
const KEEP_ALIVE_MS = 60_000;

export interface ForwardValues {
  readonly bind?: string | undefined;
  readonly sticky?: string | undefined;
  readonly maxConnections?: number | undefined;
  readonly idleTimeout?: number | undefined;
}

export class ForwardTask implements Task {
  readonly title: string;
  /** Where it listens, with the real port. */
  listening: LocalAddress | undefined;
  private readonly at: LocalAddress;
  private server: Server | undefined;
  private overlay: Overlay | undefined;
  private seldom: SeldomLog | undefined;
  private refused = 0;
  private readonly passages = new Passages((broken) => this.onBreak(broken));

  constructor(
    spec: string,
    private values: ForwardValues,
  ) {
    const split = splitLocal(spec, checkedHost(values.bind ?? '127.0.0.1', '--bind'));
    if (split === undefined) throw usage(`forward ${spec}: must be PORT:SERVICE, such as 6379:redis${hintFor(spec)}`);
    this.at = split.at;
    this.target = checkedTarget(`forward ${spec}`, split.rest);
    // A changed target is the same task, whose connections go on.
    const which = this.at.port === 0 ? ` to ${this.target}` : '';
    this.title = `forward ${shownAddress(this.at)}${which}`;
  }

  /** The service of new connections. */
  target: string;

  async start({ overlay, log }: TaskHost): Promise<void> {
    this.overlay = overlay;
    this.seldom = new SeldomLog(log);
    this.passages.idleTimeoutMs = this.values.idleTimeout;
    const server = createServer(
      { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS },
      (socket) => this.onSocket(socket),
    );
    this.server = server;
    this.limit(server);
    server.on('drop', () => this.onDrop());
    this.listening = await listen(server, this.at);
    // Without descriptors, accepting fails; it goes on with the next connection.
    server.on('error', (error) => this.seldom?.warn('accept', `${this.title}: ${lineOf(error)}`));
    if (!isLoopback(this.listening)) {
      log.warn(`${this.title}: every machine that can reach ${shownAddress(this.listening)} can use ${this.target}`);
    }
  }

  async update(next: Task): Promise<boolean> {
    if (!(next instanceof ForwardTask)) return false;
    this.target = next.target;
    this.values = next.values;
    this.passages.idleTimeoutMs = next.values.idleTimeout;
    if (this.server !== undefined) this.limit(this.server);
    return true;
  }

  async stop(signal: AbortSignal): Promise<void> {
    if (this.server === undefined) return;
    stopListening(this.server, this.listening);
    await this.passages.ended(signal);
  }

  status(): Record<string, unknown> {
    const { listening, target, passages, refused } = this;
    return {
      ...(listening === undefined ? {} : { listens: shownAddress(listening) }),
      to: target,
      ...passages.status(),
      refused,
    };
  }

  private limit(server: Server): void {
    server.maxConnections = this.values.maxConnections ?? MAX_CONNECTIONS;
  }

  private onSocket(socket: Socket): void {
    const key = this.values.sticky === undefined ? undefined : (socket.remoteAddress ?? '');
    try {
      const circuit = (this.overlay as Overlay).dial(this.target, { key });
      this.passages.join(socket, circuit);
    } catch (error) {
      // The node has been closed.
      socket.on('error', () => {});
      socket.resetAndDestroy();
      this.onBreak({ side: 'circuit', error: error as Error });
    }
  }

  private onDrop(): void {
    this.refused++;
    this.seldom?.warn('drop', `${this.title}: ${this.server?.maxConnections} connections are open, more are refused`);
  }

  private onBreak({ side, error }: Break): void {
    const code = codeOf(error) ?? error.name;
    // A client that goes away is its own business.
    if (side === 'circuit') this.seldom?.warn(code, `${this.title}: ${lineOf(error)}`, { code });
  }
}

/** For those who write it the other way round. */
function hintFor(spec: string): string {
  const match = /^([^:/]+):(\d+)$/.exec(spec);
  return match === null ? '' : `; did you mean ${match[2]}:${match[1]}?`;
}
