// Makes this machine a member: finds a node of the network that the token names, shows it nothing before it has proved that it is one, and
// writes the folder of credentials when the certificate is there.
//
//   token -> addresses, one after the other and soon in parallel -> HELLO, checks -> ENROL -> CERTIFIED -> folder
//
// Requests go out one at a time. It does no harm when one is sent twice, as the key is the same.

import { createPublicKey, type KeyObject, sign } from 'node:crypto';
import { readdirSync } from 'node:fs';
import type { Socket } from 'node:net';
import { resolve } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { type LinkAddress, parseLinkAddress } from '../../address.js';
import { codeOf, optionError, type StarlaneError, type StarlaneErrorCode, starlaneError } from '../../errors.js';
import { readCredentials, writeCredentials } from '../../identity/credentials.js';
import { type Member, nameFault, rawKeyOf } from '../../identity/member-certificate.js';
import { KERNEL_KEEPALIVE_MS } from '../../link/transport/connect.js';
import { openTunnel, targetVia } from '../../link/via/tunnel.js';
import { resolveVia, type Via } from '../../options/via.js';
import { inTime } from '../../util/deadline.js';
import { nodeTls } from '../../util/runtime/builtins.js';
import { ProcessRefs } from '../../util/runtime/process-refs.js';
import { dateNow } from '../../util/runtime/real-timers.js';
import { MAX_TIMEOUT_MS, sharedTimers, type Timers } from '../../util/timers.js';
import { type Certified, EnrolmentType, encodeNotice } from '../../wire/enrolment.js';
import { decodeToken, type Token } from '../../wire/token.js';
import { readProxy, viaOf } from '../environment.js';
import { Exchange } from './exchange.js';
import { type MemberInfo, memberInfo } from './member-info.js';
import { dropPendingKey, findPendingKey, takePendingKey } from './pending-key.js';
import { type RequestKey, signedEnrol } from './proof.js';
import { ISSUER_MS } from './reception.js';
import { clockFault, errorOf, isLocal, refusalCodeOf, spanOf } from './refusals.js';
import { authoritiesOf, memberOf } from './trust.js';

/** The name of the protocol in tls (RFC 7301). */
export const ENROLMENT_PROTOCOL = 'starlane-enrol/1';

const DEFAULT_TIMEOUT_MS = 30_000;
/** The next address is tried when the last one has not answered for so long, as RFC 8305 recommends. */
const STAGGER_MS = 250;
const HELLO_MS = 10_000;
/** The other end may have to ask an issuer far away. */
const REPLY_MS = 2 * ISSUER_MS + 5_000;
const MAX_SEEDS = 16;

export interface EnrolOptions {
  /** The folder to be made: see the option `credentials` of createNode. */
  credentials: string;
  /** The name of the member, where the token leaves it open by an asterisk. */
  name?: string | undefined;
  /** The proxy to reach the network through, as the option of createNode. Default: STARLANE_VIA, or else none. */
  via?: string | undefined;
  /** Hosts that are reached without it, as the option of createNode. Default: STARLANE_NO_PROXY, or else none. */
  noProxy?: string | readonly string[] | undefined;
  /** Ends the attempt; the token stays good for the next one. */
  signal?: AbortSignal | undefined;
  /** For all of it, in ms. Default 30000. */
  timeoutMs?: number | undefined;
}

/**
 * Makes this machine a member of the network of the token, and resolves when the folder of credentials is there. After a failure or a
 * crash, call it again with the same folder: its key is kept beside it, in `<folder>.enrolling`.
 * @throws ERR_STARLANE_TOKEN, _TOKEN_USED, _TOKEN_EXPIRED, _WRONG_NETWORK, _CLOCK, _REVOKED, _CREDENTIALS, _ENROLMENT, _AUTHORITY,
 * _PROXY, _PROXY_AUTH, _OPTION; the reason of the signal
 */
export async function enrol(token: string, options: EnrolOptions): Promise<MemberInfo> {
  const { credentials, name, signal, timeoutMs, via } = checkOptions(options);
  const read = decodeToken(token);
  signal?.throwIfAborted();
  const folder = resolve(credentials);
  const there = finished(folder);
  if (there !== undefined) return there;
  const key = takePendingKey(folder);
  const joiner = new Joiner(read, key, name, sharedTimers, dateNow, via);
  return new ProcessRefs().during(
    joiner.within(timeoutMs, signal).then((result) => {
      writeCredentials(folder, { key, ...result });
      dropPendingKey(folder);
      return memberInfo(result.member);
    }),
  );
}

/** Returns the member if an earlier call was interrupted when all was done but the last step. @throws ERR_STARLANE_CREDENTIALS */
function finished(folder: string): MemberInfo | undefined {
  let isThere = true;
  try {
    isThere = readdirSync(folder).length > 0;
  } catch (error) {
    isThere = codeOf(error) !== 'ENOENT';
  }
  if (!isThere) return undefined;
  const pending = findPendingKey(folder);
  if (pending === undefined) {
    throw starlaneError('ERR_STARLANE_CREDENTIALS', `${folder}: it is there already, and is not overwritten`);
  }
  const { key, member } = readCredentials(folder);
  if (!createPublicKey(key).equals(createPublicKey(pending))) {
    throw starlaneError('ERR_STARLANE_CREDENTIALS', `${folder}: it is there already, and is not overwritten`);
  }
  dropPendingKey(folder);
  return memberInfo(member);
}

interface CheckedOptions {
  readonly credentials: string;
  readonly name: string;
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number;
  readonly via: Via | undefined;
}

const OPTIONS: ReadonlySet<string> = new Set(['credentials', 'name', 'signal', 'timeoutMs', 'via', 'noProxy']);

function checkOptions(options: EnrolOptions): CheckedOptions {
  if (typeof options !== 'object' || options === null) throw optionError('enrol', 'must be an object of options');
  for (const option of Object.keys(options)) {
    if (!OPTIONS.has(option)) throw optionError(option, 'unknown option of enrol');
  }
  const { credentials, name, signal, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  if (typeof credentials !== 'string' || credentials === '') throw optionError('credentials', 'must be a path');
  const fault = name === undefined ? undefined : nameFault(name);
  if (fault !== undefined) throw optionError('name', fault);
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw optionError('signal', 'must be an AbortSignal');
  if (!(typeof timeoutMs === 'number' && timeoutMs >= 1 && timeoutMs <= MAX_TIMEOUT_MS)) {
    throw optionError('timeoutMs', 'must be a number from 1 to 2147483647');
  }
  const chosen = viaOf(options, readProxy(process.env));
  return { credentials, name: name ?? '', signal, timeoutMs, via: resolveVia(chosen.via, chosen.noProxy) };
}

/** What a joiner gets. */
interface Result {
  readonly member: Member;
  readonly certificate: Uint8Array;
  readonly authorities: readonly Uint8Array[];
  readonly seeds: readonly string[];
  readonly statements: readonly Uint8Array[];
}

/** Why one address has not helped. */
interface Failure {
  readonly address: string;
  readonly error: Error;
  /** No other node would answer differently. */
  readonly isFinal: boolean;
}

class Joiner {
  private readonly failures: Failure[] = [];
  private readonly sockets = new Set<TLSSocket>();
  private readonly requestKey: RequestKey;
  /** Aborts when the attempt has ended, in whatever way. */
  private readonly over = new AbortController();
  /** Ends when the last request that was sent is answered. */
  private sending: Promise<void> = Promise.resolve();

  constructor(
    private readonly token: Token,
    key: KeyObject,
    private readonly name: string,
    private readonly timers: Timers,
    private readonly now: () => number,
    private readonly via: Via | undefined,
  ) {
    this.requestKey = {
      publicKey: rawKeyOf(createPublicKey(key)) as Buffer,
      sign: (bytes) => sign(null, bytes, key),
    };
  }

  async within(timeoutMs: number, signal: AbortSignal | undefined): Promise<Result> {
    try {
      return await inTime(this.timers, timeoutMs, 'enrol', (ending) => this.run(ending), signal);
    } catch (error) {
      if (codeOf(error) !== 'ETIMEDOUT' || signal?.aborted) throw error;
      throw this.failure(`nothing within ${spanOf(timeoutMs)}`);
    } finally {
      this.over.abort();
      for (const socket of this.sockets) socket.destroy();
    }
  }

  /** Tries the addresses. @throws the failure that says most */
  private run(ending: AbortSignal): Promise<Result> {
    const { addresses } = this.token;
    return new Promise((resolve, reject) => {
      let next = 0;
      let open = 0;
      let isDone = false;
      const finish = (settle: () => void): void => {
        isDone = true;
        settle();
      };
      const tryNext = (): void => {
        if (isDone || ending.aborted || next >= addresses.length) return;
        const address = addresses[next++];
        open++;
        const timer = this.timers.schedule(STAGGER_MS, { onDeadline: tryNext });
        this.attempt(address, () => isDone || ending.aborted).then(
          (result) => finish(() => resolve(result)),
          (error: Error) => {
            open--;
            this.timers.cancel(timer);
            if (isDone) return;
            const isFinal = error instanceof FinalRefusal;
            this.failures.push({ address, error: isFinal ? error.error : error, isFinal });
            if (isFinal) finish(() => reject(error.error));
            else if (open === 0 && next >= addresses.length) finish(() => reject(this.failure('')));
            else tryNext();
          },
        );
      };
      tryNext();
    });
  }

  private async attempt(address: string, isOver: () => boolean): Promise<Result> {
    const socket = await this.connect(address);
    const exchange = new Exchange(socket, this.timers);
    try {
      await this.checkServer(socket, exchange, address);
      return await this.inTurn(() => {
        if (isOver()) throw starlaneError('ERR_STARLANE_ENROLMENT', 'another node was faster');
        return this.request(exchange, address);
      });
    } finally {
      exchange.destroy();
    }
  }

  private async connect(address: string): Promise<TLSSocket> {
    const where = parseLinkAddress(address, 'tls');
    const { host = '', port = 0 } = where;
    const tunnel = await this.tunnel(where);
    return new Promise((resolve, reject) => {
      const socket = nodeTls().connect({
        ...(tunnel === undefined ? { host, port } : { socket: tunnel, host }),
        ALPNProtocols: [ENROLMENT_PROTOCOL],
        minVersion: 'TLSv1.3',
        // The authority is not known by its certificate, but by its hash: see checkServer.
        rejectUnauthorized: false,
      });
      this.sockets.add(socket);
      const fail = (error: Error): void => {
        this.sockets.delete(socket);
        this.timers.cancel(timer);
        socket.destroy();
        reject(starlaneError('ERR_STARLANE_ENROLMENT', `${address}: ${wordsOf(error)}`, error));
      };
      const timer = this.timers.schedule(HELLO_MS, { onDeadline: () => fail(new Error('no answer')) });
      socket.once('close', () => fail(new Error('it closed the connection')));
      socket.on('error', fail);
      socket.once('secureConnect', () => {
        this.timers.cancel(timer);
        if (socket.alpnProtocol === ENROLMENT_PROTOCOL) resolve(socket);
        else fail(new Error('it does not enrol members'));
      });
    });
  }

  /** Returns a connection through the proxy; undefined where this address is reached without. */
  private async tunnel(address: LinkAddress): Promise<Socket | undefined> {
    const target = targetVia(address, this.via);
    if (this.via === undefined || target === undefined) return undefined;
    const { timers } = this;
    const { signal } = this.over;
    const options = { timers, signal, timeoutMs: HELLO_MS, keepAliveMs: KERNEL_KEEPALIVE_MS };
    const tunnel = await openTunnel(address, target, this.via, options);
    // Errors come out of the tls socket as well.
    tunnel.on('error', () => {});
    if (!signal.aborted) return tunnel;
    tunnel.destroy();
    throw signal.reason;
  }

  /** Checks that the other end is a member of the network of the token, before it learns anything. @throws */
  private async checkServer(socket: TLSSocket, exchange: Exchange, address: string): Promise<void> {
    const { message } = await exchange.read(HELLO_MS).catch((error: Error) => {
      throw starlaneError('ERR_STARLANE_ENROLMENT', `${address}: ${wordsOf(error)}`, error);
    });
    // It has not shown who it is, so what it says of the token counts for nothing.
    if (message.type === EnrolmentType.REFUSED) {
      throw starlaneError('ERR_STARLANE_ENROLMENT', `${address}: ${message.reason}`);
    }
    if (message.type !== EnrolmentType.HELLO) throw unexpected(address);
    const leaf = socket.getPeerCertificate(true);
    const nowMs = this.now();
    const server = this.serverOf(leaf?.raw, leaf?.issuerCertificate?.raw, message.statements);
    if (server === undefined) {
      const error = starlaneError(
        'ERR_STARLANE_WRONG_NETWORK',
        `${address} belongs to another one than ${this.token.networkId}`,
      );
      this.notify(exchange, error, `it has a token for the network ${this.token.networkId}`);
      throw error;
    }
    const who = `${server.nodeId} at ${address}`;
    const clock = clockFault('this machine', nowMs, who, message.timeMs);
    if (clock !== undefined) {
      const error = starlaneError('ERR_STARLANE_CLOCK', clock);
      this.notify(exchange, error, clock);
      throw error;
    }
    if (server.notAfterMs <= nowMs) {
      const error = starlaneError('ERR_STARLANE_CERTIFICATE_EXPIRED', `that of ${who}`);
      this.notify(exchange, error, 'your certificate has expired');
      throw error;
    }
  }

  private serverOf(
    leaf: Uint8Array | undefined,
    authority: Uint8Array | undefined,
    statements: readonly Uint8Array[],
  ): Member | undefined {
    if (leaf === undefined || authority === undefined) return undefined;
    try {
      return memberOf(leaf, authoritiesOf(this.token.networkId, [authority], statements, this.now()));
    } catch {
      return undefined;
    }
  }

  /** Tells the other end why it is not wanted. */
  private notify(exchange: Exchange, error: StarlaneError, reason: string): void {
    exchange.end(encodeNotice({ code: refusalCodeOf(error), timeMs: Math.round(this.now()), reason }));
  }

  private async request(exchange: Exchange, address: string): Promise<Result> {
    const { code, networkId, issuer, expiresAtMs } = this.token;
    const timeMs = Math.round(this.now());
    exchange.write(signedEnrol({ networkId, issuer, timeMs, expiresAtMs, name: this.name }, code, this.requestKey));
    const { message } = await exchange.read(REPLY_MS).catch((error: Error) => {
      throw starlaneError('ERR_STARLANE_ENROLMENT', `${address}: ${wordsOf(error)}`, error);
    });
    if (message.type === EnrolmentType.REFUSED) throw refused(message.code, message.reason, address);
    if (message.type !== EnrolmentType.CERTIFIED) throw unexpected(address);
    return this.accept(message, address);
  }

  /** Checks what was issued: it may have passed through others. @throws ERR_STARLANE_ENROLMENT */
  private accept({ certificate, authorities, seeds, statements }: Certified, address: string): Result {
    const { networkId, addresses } = this.token;
    let member: Member;
    let known: ReturnType<typeof authoritiesOf>;
    try {
      known = authoritiesOf(networkId, authorities, statements, this.now());
      member = memberOf(certificate, known);
    } catch (error) {
      throw starlaneError(
        'ERR_STARLANE_ENROLMENT',
        `${address}: the certificate is not of the network of the token`,
        error,
      );
    }
    if (Buffer.compare(member.publicKey, this.requestKey.publicKey) !== 0) {
      throw starlaneError('ERR_STARLANE_ENROLMENT', `${address}: the certificate is for another key`);
    }
    return {
      member,
      certificate,
      authorities: known.map((authority) => authority.certificate),
      seeds: [...new Set([...addresses, ...seeds.filter(isLinkAddress)])].slice(0, MAX_SEEDS),
      statements,
    };
  }

  /** Runs one request after the other. */
  private inTurn<Value>(run: () => Promise<Value>): Promise<Value> {
    const result = this.sending.then(run);
    this.sending = result.then(
      () => {},
      () => {},
    );
    return result;
  }

  /** Returns the error for all that has failed: the code is that which says most. */
  private failure(what: string): StarlaneError {
    const codes = this.failures.map(({ error }) => codeOf(error));
    const code = RANKED.find((ranked) => codes.includes(ranked)) ?? 'ERR_STARLANE_ENROLMENT';
    const own = this.failures.filter(({ error }) => codeOf(error) === code);
    const rest = this.failures.filter((failure) => !own.includes(failure));
    const details = [...own, ...rest].map(({ error }) => detailOf(error));
    const text = [what, ...new Set(details)].filter((part) => part !== '').join('; ');
    return starlaneError(code, text === '' ? undefined : text, this.failures[0]?.error);
  }
}

/** Codes of failures, those first that a person should see first. */
const RANKED: readonly StarlaneErrorCode[] = [
  'ERR_STARLANE_CLOCK',
  'ERR_STARLANE_WRONG_NETWORK',
  'ERR_STARLANE_AUTHORITY',
  'ERR_STARLANE_CERTIFICATE_EXPIRED',
  'ERR_STARLANE_PROXY_AUTH',
  'ERR_STARLANE_PROXY',
];

/** Another node would not answer differently. */
class FinalRefusal extends Error {
  constructor(readonly error: StarlaneError) {
    super(error.message);
  }
}

function refused(code: number, reason: string, address: string): Error {
  return isLocal(code) ? errorOf(code, `${address}: ${reason}`) : new FinalRefusal(errorOf(code, reason));
}

function unexpected(address: string): StarlaneError {
  return starlaneError('ERR_STARLANE_ENROLMENT', `${address}: an unexpected answer`);
}

/** Returns the message without the text of the table. */
function detailOf(error: Error): string {
  const colon = error.message.indexOf(': ');
  return codeOf(error)?.startsWith('ERR_STARLANE_') && colon >= 0 ? error.message.slice(colon + 2) : error.message;
}

/** Returns what went wrong with a connection, in words. */
function wordsOf(error: Error): string {
  switch (codeOf(error)) {
    case 'ECONNREFUSED':
      return 'nothing listens there';
    case 'ETIMEDOUT':
      return 'no answer';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'the name of the host cannot be resolved';
    case 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL':
      return 'it does not enrol members';
    default:
      return detailOf(error);
  }
}

function isLinkAddress(text: string): boolean {
  try {
    parseLinkAddress(text, 'tls');
    return true;
  } catch {
    return false;
  }
}
