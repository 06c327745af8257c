// One TCP connection over loopback with a mux session on this side and the Go peer on the other, in both roles.

import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, expect } from '@jest/globals';
import { Session, type Stream } from '../../lib/mux/index.js';
import { within } from '../support/deadline.js';
import { describeUnless } from '../support/obstacle.js';
import { GoPeer, type GoPeerOptions, GoPeerProgram, missingForGoPeer } from './go-peer.js';
import { serve } from './stream-work.js';

/** The yamux role of this side. The client of the two connects, as is usual. */
export type Role = 'client' | 'server';

export interface GoLinkOptions {
  peer?: Omit<GoPeerOptions, 'role' | 'connectPort'>;
  session?: Omit<ConstructorParameters<typeof Session>[1], 'client'>;
}

/** Declares specs once for each role, with a link that each spec starts and that is closed after it. */
export function describeWithGo(name: string, specs: (link: GoLink) => void): void {
  const missing = missingForGoPeer();
  const obstacle = missing === undefined ? undefined : { reason: missing, isMissing: true };
  for (const role of ['client', 'server'] as const) {
    describeUnless(obstacle, `${name}, as yamux ${role}`, () => {
      const link = new GoLink(role);
      let program: GoPeerProgram | undefined;
      beforeAll(() => {
        program = new GoPeerProgram();
        link.program = program;
      }, 150_000);
      afterEach(() => link.stop());
      afterAll(() => program?.remove());
      specs(link);
    });
  }
}

export class GoLink {
  session!: Session;
  peer!: GoPeer;
  program!: GoPeerProgram;
  /** Resolved when the session has emitted 'close'. */
  closed!: Promise<void>;
  /** Errors of streams that the peer opened and this side served. */
  serveErrors: Error[] = [];

  constructor(private readonly role: Role) {}

  async start(options: GoLinkOptions = {}): Promise<this> {
    this.serveErrors = [];
    const client = this.role === 'client';
    const socket = client ? await this.connect(options) : await this.listen(options);
    this.session = new Session(socket, { client, ...options.session });
    this.closed = new Promise((resolve) => this.session.once('close', resolve));
    this.session.on('error', () => {}); // Specs check 'close' and the errors of the streams.
    this.session.on('stream', (stream: Stream) => {
      serve(stream).catch((error: Error) => this.serveErrors.push(error));
    });
    return this;
  }

  async stop(): Promise<void> {
    this.session?.destroy();
    try {
      await within('close of the session', this.closed);
    } finally {
      await this.peer?.stop();
    }
  }

  /** Opens `count` streams in one turn and does `work` on each. */
  openAll<T>(count: number, work: (stream: Stream, number: number) => Promise<T>): Promise<T[]> {
    const streams = Array.from({ length: count }, () => this.session.open());
    return within(`work on ${count} streams`, Promise.all(streams.map(work)));
  }

  /** Both stream tables are empty, nothing was reset, and the Go library had nothing to say. */
  async expectCleanEnd(): Promise<void> {
    expect(await this.peer.run('drained')).not.toHaveProperty('error');
    await within('pong', this.session.ping()); // What the peer sent before is here now.
    const stats = await this.peer.stats();
    const odd = Object.keys({ ...stats.received, ...stats.sent }).filter((name) => /RST|malformed|0x/.test(name));
    expect(odd).toEqual([]);
    expect(this.session.streamCount).toBe(0);
    expect(this.peer.complaints()).toEqual([]);
    expect(this.serveErrors).toEqual([]);
  }

  private async connect(options: GoLinkOptions): Promise<net.Socket> {
    this.peer = new GoPeer(this.program, { ...options.peer, role: 'server' });
    const socket = net.connect({ host: '127.0.0.1', port: await this.peer.port() });
    await within('connect', once(socket, 'connect'));
    return socket;
  }

  private async listen(options: GoLinkOptions): Promise<net.Socket> {
    const server = net.createServer();
    server.listen(0, '127.0.0.1');
    await within('listening', once(server, 'listening'));
    const connectPort = (server.address() as AddressInfo).port;
    this.peer = new GoPeer(this.program, { ...options.peer, role: 'client', connectPort });
    const [socket] = (await within('connection', once(server, 'connection'))) as [net.Socket];
    server.close();
    return socket;
  }
}
