// How one process of the simulation makes links: MeshNetwork over hosts, paths and pipes. Connecting takes a round trip
// and the handshake another; a host that does not answer is given up after the handshake timeout.

import { netError, StarlaneError, starlaneError } from '../../lib/errors.js';
import type { LinkRequest, MeshNetwork, ProbeResult } from '../../lib/mesh/ports.js';
import type { Actor, EventLoop } from './event-loop.js';
import type { Paths } from './paths.js';
import { Pipe } from './pipe.js';
import type { SimHost } from './sim-host.js';
import { SimLink } from './sim-link.js';
import type { SimLinks } from './sim-links.js';

/** When a kernel sends SYN again, in ms. */
const SYN_AT_MS = [0, 1_000, 3_000];
/** The first wait of the kernel at the other end before it sends its answer again, doubled each time, in ms. */
const ANSWER_AGAIN_MS = 1_000;
const LOOKUP_MS = 2;
const SYN_BYTES = 40;

/** What is the same for all nodes. */
export interface Wide {
  readonly loop: EventLoop;
  readonly paths: Paths;
  hostAt(address: string): SimHost | undefined;
  /** Where a connection to an address gets: there, or to a machine that a balancer has chosen. */
  behind(address: string): string;
  /** Link addresses behind the name of a host. */
  lookup(address: string): readonly string[];
}

export class SimNetwork implements MeshNetwork {
  constructor(
    private readonly wide: Wide,
    private readonly own: SimLinks,
  ) {}

  get listenAddresses(): readonly string[] {
    return this.own.host.isListening ? [this.own.host.address] : [];
  }

  links(): Iterable<SimLink> {
    return this.own.values();
  }

  async dial(address: string, request: LinkRequest): Promise<SimLink> {
    if (request.signal?.aborted) throw request.signal.reason;
    const timeoutMs = this.own.handshakeTimeoutMs;
    const where = this.wide.behind(address);
    const answer = await this.connect(where, timeoutMs, request.signal);
    if (answer === 'silent') throw transportError('ETIMEDOUT', address);
    if (answer === 'refused') throw transportError('ECONNREFUSED', address);
    const { host } = this.own;
    const far = this.wide.hostAt(where);
    const own = new SimLink({ ...request, owner: this.own, direction: 'outbound', address });
    this.own.add(own);
    const farLinks = far?.links;
    const established = this.own.established(own);
    // The process there may have ended since the answer of its kernel.
    if (farLinks === undefined) {
      own.pipe = new Pipe(this.wide.loop, this.wide.paths, {
        from: host,
        to: host,
        reader: own,
        onUnblocked: () => {},
      });
      own.destroy(starlaneError('ERR_STARLANE_LINK_LOST'));
      return established;
    }
    const inbound = { owner: farLinks, direction: 'inbound', address: host.sourceAddress, purpose: 'join' } as const;
    const other = new SimLink(inbound);
    connectEnds(this.wide, own, this.own, other, farLinks);
    if (!farLinks.add(other)) other.destroy(starlaneError('ERR_STARLANE_LINK_LIMIT'));
    own.start();
    const onAbort = (): void => own.destroy(request.signal?.reason as Error);
    request.signal?.addEventListener('abort', onAbort, { once: true });
    return established.finally(() => request.signal?.removeEventListener('abort', onAbort));
  }

  async resolve(address: string): Promise<readonly string[]> {
    await this.pause(LOOKUP_MS);
    return this.wide.lookup(address);
  }

  probe(address: string, timeoutMs: number): Promise<ProbeResult> {
    return this.connect(this.wide.behind(address), timeoutMs);
  }

  private connect(address: string, timeoutMs: number, signal?: AbortSignal): Promise<ProbeResult> {
    return new Promise((resolve, reject) => {
      const attempt = new Attempt(this.wide, this.own, address, resolve);
      attempt.start(timeoutMs);
      signal?.addEventListener(
        'abort',
        () => {
          attempt.end();
          reject(signal.reason);
        },
        { once: true },
      );
    });
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.own.process.setTimeout(resolve, ms);
    });
  }
}

/** Two ends of one link, and the pipes between them. */
export function connectEnds(
  wide: Wide,
  one: SimLink,
  ownerOfOne: SimLinks,
  other: SimLink,
  ownerOfOther: SimLinks,
): void {
  const pipe = (owner: SimLinks, end: SimLink, farOwner: SimLinks, reader: SimLink): Pipe =>
    new Pipe(wide.loop, wide.paths, {
      from: owner.host,
      to: farOwner.host,
      reader,
      onUnblocked: () => owner.onUnblocked(end),
    });
  one.other = other;
  other.other = one;
  one.pipe = pipe(ownerOfOne, one, ownerOfOther, other);
  other.pipe = pipe(ownerOfOther, other, ownerOfOne, one);
}

const Event = { SYN: 0, AT_HOST: 1, REFUSED: 2, OPEN: 3, TIMEOUT: 4 } as const;

/** A TCP connection in the making. The kernel at the other end answers, even if its process is stopped. */
class Attempt implements Actor {
  private isOver = false;

  constructor(
    private readonly wide: Wide,
    private readonly own: SimLinks,
    private readonly address: string,
    private readonly settle: (answer: ProbeResult) => void,
  ) {}

  start(timeoutMs: number): void {
    for (const ms of SYN_AT_MS) this.wide.loop.after(ms, this, Event.SYN);
    this.wide.loop.after(timeoutMs, this, Event.TIMEOUT);
  }

  end(): void {
    this.isOver = true;
  }

  onEvent(kind: number, payload: unknown): void {
    if (this.isOver || this.own.process.isEnded) return;
    const { loop, paths } = this.wide;
    const { host, process } = this.own;
    const far = this.wide.hostAt(this.address);
    if (kind === Event.SYN) {
      this.own.traffic.out(SYN_BYTES);
      if (far !== undefined && paths.isOpen(host, far) && !paths.isLost())
        loop.after(paths.latencyMs(host, far), this, Event.AT_HOST);
      return;
    }
    if (kind === Event.AT_HOST) {
      if (far === undefined || !far.isUp || !paths.isOpen(far, host)) return;
      let lateMs = 0;
      for (let waitMs = ANSWER_AGAIN_MS; paths.isLost(); waitMs *= 2) lateMs += waitMs;
      loop.after(paths.latencyMs(far, host) + lateMs, this, far.isListening ? Event.OPEN : Event.REFUSED);
      return;
    }
    if (process.isBusy) {
      process.defer(this, kind, payload);
      return;
    }
    this.isOver = true;
    this.settle(kind === Event.OPEN ? 'open' : kind === Event.REFUSED ? 'refused' : 'silent');
  }
}

function transportError(code: 'ETIMEDOUT' | 'ECONNREFUSED', address: string): Error {
  const cause = netError(code, 'connect', { address });
  return new StarlaneError('ERR_STARLANE_TRANSPORT', `${address}: ${cause.message}`, { cause });
}
