// What socks and proxy have in common: one port of this machine, whose clients name what they want to reach.

import type { Server, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { codeOf } from '../../errors.js';
import { type Break, reset } from '../../socket/passage.js';
import { lineOf, usage } from '../failure.js';
import { flag } from '../flags.js';
import { checkedHost, isLoopback, type LocalAddress, shownAddress } from '../local/address.js';
import { listen, stopListening } from '../local/listening.js';
import { Passages } from '../local/passages.js';
import { SeldomLog } from '../local/seldom.js';
import type { Overlay } from '../run/overlay.js';
import type { Task, TaskHost } from '../run/task.js';
import { checkedSuffix, SUFFIX } from './names.js';
import { PASSWORD_FLAGS, Password } from './password.js';
import { NoSuchName, NotAllowed, open } from './way-out.js';

const MAX_CONNECTIONS = 10_000;

/** Flags of both; each adds `port`. */
export const ENTRY_FLAGS = {
  bind: flag.text('the address of this machine at which to listen', { value: 'HOST', otherwise: '127.0.0.1' }),
  ...PASSWORD_FLAGS,
  suffix: flag.text('the domain of services: NAME.DOMAIN is the service NAME', { value: 'DOMAIN', otherwise: SUFFIX }),
  direct: flag.boolean('let through what is no service of the network, as from this machine', { otherwise: 'false' }),
  maxConnections: flag.integer('how many connections may be open', { min: 1, otherwise: String(MAX_CONNECTIONS) }),
  idleTimeout: flag.duration('ends connections that are silent for so long', { min: 100, otherwise: 'never' }),
} as const;

export interface EntryValues {
  readonly port?: number | undefined;
  readonly bind?: string | undefined;
  readonly user?: string | undefined;
  readonly passwordFile?: string | undefined;
  readonly suffix?: string | undefined;
  readonly direct?: boolean | undefined;
  readonly maxConnections?: number | undefined;
  readonly idleTimeout?: number | undefined;
}

export abstract class EntryTask<Values extends EntryValues = EntryValues> implements Task {
  /** Where it listens, with the real port. */
  listening: LocalAddress | undefined;
  protected password: Password | undefined;
  protected server: Server | undefined;
  protected readonly passages = new Passages((broken) => this.onBreak(broken));
  private readonly at: LocalAddress;
  private overlay: Overlay | undefined;
  private seldom: SeldomLog | undefined;
  private suffix: string;

  constructor(
    readonly title: string,
    usualPort: number,
    protected values: Values,
  ) {
    const { port = usualPort, bind = '127.0.0.1', user, passwordFile, suffix = SUFFIX } = values;
    this.at = { host: checkedHost(bind, '--bind'), port };
    this.suffix = checkedSuffix(suffix);
    this.password = Password.of(title, user, passwordFile);
    if (this.password === undefined && !isLoopback(this.at)) {
      throw usage(
        `${title}: at ${shownAddress(this.at)} others can use the network of this machine; it needs --user and --password-file`,
      );
    }
  }

  protected abstract serve(): Server;
  /** Ends what has not become a passage yet. */
  protected abstract endRest(signal: AbortSignal): Promise<void>;

  async start({ overlay, log }: TaskHost): Promise<void> {
    this.overlay = overlay;
    this.seldom = new SeldomLog(log);
    this.passages.idleTimeoutMs = this.values.idleTimeout;
    const server = this.serve();
    this.server = server;
    this.limit(server);
    server.on('drop', () => {
      this.seldom?.warn('drop', `${this.title}: ${server.maxConnections} connections are open, more are refused`);
    });
    this.listening = await listen(server, this.at);
    server.on('error', (error) => this.seldom?.warn('accept', `${this.title}: ${lineOf(error)}`));
  }

  async update(next: Task): Promise<boolean> {
    if (!(next instanceof EntryTask) || shownAddress(next.at) !== shownAddress(this.at)) return false;
    this.values = next.values as Values;
    this.suffix = next.suffix;
    this.password = next.password;
    this.passages.idleTimeoutMs = this.values.idleTimeout;
    if (this.server !== undefined) this.limit(this.server);
    return true;
  }

  async stop(signal: AbortSignal): Promise<void> {
    const { server } = this;
    if (server === undefined) return;
    stopListening(server, this.listening);
    await Promise.all([this.endRest(signal), this.passages.ended(signal)]);
  }

  status(): Record<string, unknown> {
    const { listening, passages } = this;
    return { ...(listening === undefined ? {} : { listen: shownAddress(listening) }), ...passages.status() };
  }

  /** Opens what a client names. */
  protected open(host: string, port: number): Promise<Duplex> {
    const { overlay, suffix, values, listening } = this;
    return open(overlay as Overlay, host, port, {
      suffix,
      isDirect: values.direct === true,
      isLocal: listening !== undefined && isLoopback(listening),
    });
  }

  /** A name that a client has made up is no news. */
  protected onFailed(error: Error): void {
    if (error instanceof NotAllowed || error instanceof NoSuchName) return;
    const code = codeOf(error) ?? error.name;
    this.seldom?.warn(code, `${this.title}: ${lineOf(error)}`, { code });
  }

  protected join(socket: Socket, circuit: Duplex): void {
    if (socket.destroyed) reset(circuit);
    this.passages.join(socket, circuit);
  }

  private onBreak({ side, error }: Break): void {
    if (side === 'circuit') this.onFailed(error);
  }

  private limit(server: Server): void {
    server.maxConnections = this.values.maxConnections ?? MAX_CONNECTIONS;
  }
}
