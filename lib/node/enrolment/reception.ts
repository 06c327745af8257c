// Where requests come in: from joiners, over tls connections that are no links, and from members, over circuits. An issuer answers them;
// any other member passes those of joiners on to the issuer that their token names.

import type { Duplex } from 'node:stream';
import type { NodeId } from '../../address.js';
import { starlaneError } from '../../errors.js';
import type { Timers } from '../../util/timers.js';
import {
  type EnrolmentReply,
  EnrolmentType,
  type EnrolRequest,
  encodeHello,
  encodeRefused,
  RefusalCode,
} from '../../wire/enrolment.js';
import { Exchange, type ReceivedFrame } from './exchange.js';
import { GuessLimit } from './guess-limit.js';
import type { Issuer } from './issuer.js';
import { clockFault, errorOf, spanOf } from './refusals.js';

/** Connections of joiners at a time, and circuits of members. Strangers must not keep members from renewing their certificates. */
export const MAX_EXCHANGES = 64;
/** For the request: a person has pasted the token before the joiner connects. */
const REQUEST_MS = 10_000;
/** For the way to the issuer and its answer. */
export const ISSUER_MS = 10_000;

export interface ReceptionSetup {
  readonly nodeId: NodeId;
  readonly timers: Timers;
  /** Wall-clock time in ms. */
  now(): number;
  /** Undefined where there is no key of the authority. */
  issuer(): Issuer | undefined;
  /** By which a joiner can tell that the authority of this node is that of its token. */
  successions(): readonly Uint8Array[];
  /** Asks another issuer. @throws when it does not answer */
  ask(
    issuer: NodeId,
    frame: Uint8Array,
    timeoutMs: number,
  ): Promise<ReceivedFrame & { readonly message: EnrolmentReply }>;
  onWarning(error: Error): void;
}

export class Reception {
  private readonly guesses: GuessLimit;
  private readonly joiners = new Set<Exchange>();
  private readonly members = new Set<Exchange>();
  private isClosed = false;

  constructor(private readonly setup: ReceptionSetup) {
    this.guesses = new GuessLimit(() => setup.timers.now());
  }

  /** Called with a connection of a joiner, after its tls handshake. `remote` is its address. */
  onJoiner(duplex: Duplex, remote: string): void {
    this.during(this.joiners, duplex, remote, async (exchange) => {
      const { now, successions } = this.setup;
      exchange.write(encodeHello({ timeMs: Math.round(now()), statements: successions() }));
      const request = await exchange.read(REQUEST_MS);
      const { message } = request;
      switch (message.type) {
        case EnrolmentType.ENROL:
          exchange.end(await this.enrol(message, request.bytes, remote));
          return;
        case EnrolmentType.NOTICE:
          this.setup.onWarning(this.noticeOf(message.code, message.timeMs, message.reason, remote));
          exchange.end();
          return;
        default:
          throw unexpected(message.type);
      }
    });
  }

  /** Called with a circuit to the port of this service. */
  onMember(duplex: Duplex, peerId: NodeId): void {
    this.during(this.members, duplex, peerId, async (exchange) => {
      const { message } = await exchange.read(REQUEST_MS);
      if (message.type !== EnrolmentType.ENROL && message.type !== EnrolmentType.RENEW) throw unexpected(message.type);
      const issuer = this.setup.issuer();
      exchange.end(issuer === undefined ? this.withoutKey() : (await issuer.answer(message, peerId)).bytes);
    });
  }

  /** Ends what is going on. */
  close(): void {
    this.isClosed = true;
    for (const exchange of [...this.joiners, ...this.members]) exchange.destroy();
  }

  private during(
    open: Set<Exchange>,
    duplex: Duplex,
    remote: string,
    serve: (exchange: Exchange) => Promise<void>,
  ): void {
    const exchange = new Exchange(duplex, this.setup.timers);
    if (this.isClosed || open.size >= MAX_EXCHANGES) {
      exchange.end(this.refusal(RefusalCode.LIMIT, 'too many machines ask at a time; try again in a moment'));
      return;
    }
    open.add(exchange);
    duplex.once('close', () => open.delete(exchange));
    serve(exchange).catch((error: Error) => {
      if (this.isClosed) return;
      // A connection that just ends is that of a joiner that was faster elsewhere, or was killed.
      if (!duplex.readableEnded && !duplex.destroyed) {
        this.setup.onWarning(
          starlaneError('ERR_STARLANE_ENROLMENT', `the request of ${remote}: ${error.message}`, error),
        );
      }
      exchange.end(this.refusal(RefusalCode.MALFORMED, error.message));
    });
  }

  private async enrol(request: EnrolRequest, frame: Uint8Array, remote: string): Promise<Uint8Array> {
    const { nodeId } = this.setup;
    const waitMs = this.guesses.waitMs(remote);
    if (waitMs > 0)
      return this.refusal(RefusalCode.LIMIT, `too many wrong tokens; try again in ${spanOf(waitMs)}`, remote);
    if (request.issuer === nodeId) {
      const issuer = this.setup.issuer();
      if (issuer === undefined) return this.withoutKey(remote);
      const { bytes, refusal } = await issuer.answer(request, remote);
      this.count(refusal, remote);
      return bytes;
    }
    try {
      const { message, bytes } = await this.setup.ask(request.issuer, frame, ISSUER_MS);
      if (message.type === EnrolmentType.REFUSED) {
        this.count(message.code, remote);
        this.warn(message.code, `${message.reason} (asked by ${remote})`);
      }
      return bytes;
    } catch (error) {
      const reason = `the issuer ${request.issuer} of the token cannot be reached from ${nodeId} (${(error as Error).message})`;
      return this.refusal(RefusalCode.UNREACHABLE, reason, remote);
    }
  }

  private count(refusal: number | undefined, remote: string): void {
    if (refusal === RefusalCode.TOKEN || refusal === RefusalCode.LIMIT) this.guesses.onWrongCode(remote);
  }

  private withoutKey(remote?: string): Buffer {
    return this.refusal(RefusalCode.AUTHORITY, `the node ${this.setup.nodeId} does not have it`, remote);
  }

  /** @param remote the address to be named in a warning; none: there is none */
  private refusal(code: number, reason: string, remote?: string): Buffer {
    const { nodeId, now } = this.setup;
    if (remote !== undefined) this.warn(code, `${reason} (asked by ${remote})`);
    return encodeRefused({ code, at: nodeId, timeMs: Math.round(now()), reason });
  }

  private warn(code: number, reason: string): void {
    // The joiner may ask again with the name that the token is for, as the command does.
    if (code === RefusalCode.NAME) return;
    this.setup.onWarning(errorOf(code, reason));
  }

  private noticeOf(code: number, timeMs: number, reason: string, remote: string): Error {
    const { nodeId, now } = this.setup;
    const clock = code === RefusalCode.CLOCK ? clockFault(remote, timeMs, nodeId, now()) : undefined;
    // A stranger chooses neither the code nor more than the text.
    const kind = clock !== undefined || code === RefusalCode.WRONG_NETWORK ? code : RefusalCode.MALFORMED;
    return errorOf(kind, clock ?? `the machine at ${remote} says: ${reason}`);
  }
}

function unexpected(type: number): Error {
  return starlaneError('ERR_STARLANE_MESSAGE', `an unexpected message of type ${type}`);
}
