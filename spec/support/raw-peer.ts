// A peer made by hand: speaks yamux, and sends on the control stream exactly what a spec wants.

import { type Duplex, duplexPair } from 'node:stream';
import { createIdentity, type Identity } from '../../lib/identity/identity.js';
import { AuthRole, type HandshakeTranscript, makeAuth } from '../../lib/link/handshake/auth.js';
import type { Transport } from '../../lib/link/transport/connect.js';
import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../lib/mux/hidden.js';
import { MuxSession, type SessionOwner } from '../../lib/mux/session.js';
import type { MuxStream, StreamSink } from '../../lib/mux/stream/stream.js';
import { MessageReader } from '../../lib/wire/message.js';
import {
  type Auth,
  decodeMessage,
  encodeAuth,
  encodeHello,
  encodeMessageOf,
  encodeSynced,
  envDigests,
  type Hello,
  type Message,
  MessageType,
} from '../../lib/wire/messages.js';
import { encodeOpen, type OpenRequest } from '../../lib/wire/open.js';
import {
  encodeNodeRecord,
  encodeShardRecord,
  type MeshRecord,
  NodeFlag,
  type ServiceEntry,
} from '../../lib/wire/records.js';

/** Behind the length of a message. */
const TYPE_AT = 4;

/** What `src` sends to open a circuit to the service 'echo' of `dst`, but for `changes`. */
export function echoOpen(dst: string, src: string, changes: Partial<OpenRequest> = {}): Buffer {
  return encodeOpen({
    hopLimit: 16,
    dst,
    dstPort: 0,
    src,
    srcPort: 4711,
    circuitId: new Uint8Array(16),
    service: 'echo',
    ...changes,
  });
}

export class RawPeer implements SessionOwner, StreamSink {
  /** What the node is to be attached to. */
  readonly duplex: Duplex;
  readonly session: MuxSession;
  readonly identity: Identity;
  /** The messages of the node on the control stream. */
  readonly messages: Message[] = [];
  /** Streams that the node opened, but for the control stream. */
  readonly streams: MuxStream[] = [];
  control: MuxStream | undefined;
  /** Whether it sends AUTH by itself, once, when it is due. */
  provesItself = true;
  /** Whether it acknowledges streams by itself, as soon as they are there. */
  acknowledges = true;
  /** Of the network that it claims to be a member of. */
  networkKey: Buffer | undefined;
  /** Of the member that it claims to be, in DER. */
  certificate: Buffer | undefined;
  /** The HELLO of the node, type and body, once it is there. */
  nodeHello: Buffer = Buffer.alloc(0);
  /** How the session ended, once it has. */
  ended: { error: Error | undefined } | undefined;
  private ownHello: Buffer = Buffer.alloc(0);
  private readonly reader = new MessageReader(decodeMessage, (message, bytes) => {
    this.messages.push(message);
    if (message.type === MessageType.HELLO) this.nodeHello = Buffer.from(bytes);
    this.proveIfDue();
    // This peer knows all that the node knows: there is nothing to compare.
    if (message.type === MessageType.DIGEST) this.say(encodeMessageOf(message));
  });
  private readonly services: ServiceEntry[] = [];
  private seq = 0;
  private watchers: Array<() => void> = [];
  private readonly bytes = new Map<MuxStream, Buffer>();
  private readonly endedStreams = new Set<MuxStream>();
  private readonly resetStreams = new Set<MuxStream>();

  /** `transport`: what it speaks over, when that is not a pair in memory; then `duplex` is that as well. */
  constructor(
    private readonly client: boolean,
    identity: Identity = createIdentity(),
    private readonly transport?: Transport,
  ) {
    const [near, far] = transport === undefined ? duplexPair() : [transport.duplex, transport.duplex];
    this.duplex = far;
    // A pair in memory does not notify one end that the other was destroyed, as a network does.
    far.once('close', () => near.destroy());
    near.once('close', () => far.destroy());
    this.identity = identity;
    this.session = new MuxSession(near, { client, starlanePeer: true }, this);
    if (client) this.control = this.session.open(this);
  }

  /** A HELLO of this peer, with changes. */
  hello(changes: Partial<Hello> = {}): Buffer {
    return encodeHello({
      version: 1,
      minVersion: 1,
      ...this.identity,
      role: 'peer',
      flags: 0,
      capabilities: 0,
      envDigests: envDigests([]),
      listenAddresses: [],
      nonce: Buffer.alloc(16),
      ...changes,
    });
  }

  /** The proofs of this peer for this link, or what they would be with another transcript or key. */
  auth(changes: Partial<HandshakeTranscript> = {}, sign: Identity['sign'] = this.identity.sign): Auth {
    const hellos = this.client ? [this.ownHello, this.nodeHello] : [this.nodeHello, this.ownHello];
    const transcript: HandshakeTranscript = {
      role: this.client ? AuthRole.CLIENT : AuthRole.SERVER,
      binding: this.transport?.tls?.binding ?? Buffer.alloc(0),
      clientHello: hellos[0],
      serverHello: this.isEager ? Buffer.alloc(0) : hellos[1],
      ...changes,
    };
    return makeAuth(transcript, sign, this.networkKey === undefined ? [] : [this.networkKey], this.certificate);
  }

  say(...messages: Buffer[]): this {
    for (const message of messages) {
      if (message[TYPE_AT] === MessageType.HELLO) this.ownHello = message.subarray(TYPE_AT);
      this.control?.write(message);
      this.proveIfDue();
    }
    return this;
  }

  /** The client proves itself at once over tls, else once it knows the nonce of the server; the server once the client has. */
  private proveIfDue(): void {
    if (!this.provesItself || this.ownHello.length === 0) return;
    if (!this.isEager && !this.hasReceived(this.client ? MessageType.HELLO : MessageType.AUTH)) return;
    this.provesItself = false;
    this.prove();
  }

  /** Sends AUTH. */
  prove(): this {
    this.control?.write(encodeAuth(this.auth()));
    return this;
  }

  private get isEager(): boolean {
    return this.client && this.transport?.tls !== undefined;
  }

  /** The whole handshake, as a peer without services goes through it. */
  async handshake(changes: Partial<Hello> = {}): Promise<this> {
    if (!this.client) await this.until(() => this.hasReceived(MessageType.HELLO));
    this.say(this.hello(changes));
    await this.until(() => this.hasReceived(MessageType.AUTH));
    const hello = this.messages.find((message) => message.type === MessageType.HELLO);
    const decides = this.identity.nodeId < (hello as Hello).nodeId;
    if (!decides) await this.until(() => this.hasReceived(MessageType.SYNCED));
    this.say(encodeSynced());
    await this.until(() => this.hasReceived(MessageType.SYNCED));
    return this;
  }

  /** Publishes a service of this peer, in addition to earlier ones; the first call also publishes the peer. */
  announce(service: string, port = 0, weight = 1): this {
    const { publicKey, bootId, sign } = this.identity;
    const header = () => ({ publicKey, bootId, epoch: 1, seq: ++this.seq, lifeS: 3600 });
    const records: MeshRecord[] = [];
    if (this.seq === 0) {
      const said = { flags: NodeFlag.RELAY, envDigests: envDigests([]), addresses: [], links: [] };
      records.push(encodeNodeRecord({ ...header(), ...said }, sign));
    }
    this.services.push({ service, port, weight, meta: undefined });
    records.push(encodeShardRecord({ ...header(), shard: 0, shards: 1, services: this.services }, sign));
    const copies = records.map((record) => ({ record, remainingLifeS: 3600 }));
    return this.say(encodeMessageOf({ type: MessageType.RECORDS, records: copies }));
  }

  hasReceived(type: number): boolean {
    return this.messages.some((message) => message.type === type);
  }

  /** Waits until `done` returns true; it is called whenever something has arrived. */
  async until(done: () => boolean): Promise<void> {
    while (!done()) {
      if (this.ended !== undefined) throw new Error('the session ended first', { cause: this.ended.error });
      await new Promise<void>((resolve) => this.watchers.push(resolve));
    }
  }

  /** What has arrived on a stream other than the control stream. */
  received(stream: MuxStream): Buffer {
    return this.bytes.get(stream) ?? Buffer.alloc(0);
  }

  /** How the node left a stream: it may have ended it before a reset. */
  fate(stream: MuxStream): 'open' | 'ended' | 'reset' {
    if (this.resetStreams.has(stream)) return 'reset';
    return this.endedStreams.has(stream) ? 'ended' : 'open';
  }

  /** The next stream that the node opens, with at least `length` bytes on it. */
  async accepted(index: number, length = 1): Promise<MuxStream> {
    await this.until(() => this.streams.length > index && this.received(this.streams[index]).length >= length);
    return this.streams[index];
  }

  /** Waits for the end of the session. */
  async over(): Promise<void> {
    while (this.ended === undefined) await new Promise<void>((resolve) => this.watchers.push(resolve));
  }

  /** The code of the GOODBYE that the node sent. */
  get goodbye(): number | undefined {
    const message = this.messages.find(({ type }) => type === MessageType.GOODBYE);
    return message?.type === MessageType.GOODBYE ? message.code : undefined;
  }

  onStream(stream: MuxStream): void {
    stream.sink = this;
    if (this.acknowledges || this.control === undefined) stream.accept();
    if (this.control === undefined) this.control = stream;
    else this.streams.push(stream);
    this.wake();
  }

  onClose(error: Error | undefined): void {
    this.ended = { error };
    this.wake();
  }

  [kOnData](stream: MuxStream, chunk: Buffer): void {
    if (stream === this.control) this.reader.push(chunk);
    else this.bytes.set(stream, Buffer.concat([this.received(stream), chunk]));
    stream.consumed(chunk.length);
    this.wake();
  }

  [kOnEnd](stream: MuxStream): void {
    if (stream === this.control) stream.end();
    else this.endedStreams.add(stream);
    this.wake();
  }

  [kOnSent](): void {}

  [kOnReset](stream: MuxStream): void {
    this.resetStreams.add(stream);
    this.wake();
  }

  private wake(): void {
    for (const resolve of this.watchers.splice(0)) resolve();
  }
}

/** An identity on the wanted side of `id`: with a lower one, the peer decides whether a link is taken. */
export function identityBeside(id: string, side: 'lower' | 'higher'): Identity {
  for (;;) {
    const identity = createIdentity();
    if (identity.nodeId < id === (side === 'lower')) return identity;
  }
}
