// One end of a link, in either role, with a secret or without, of a member or not, over tls or not, whose peer is honest until it
// sends something else. The first part is the setup of the link; the others are described below.
//
//   part    u8 what | message, frames, or settings of a HELLO

import type { Identity } from '../../../lib/identity/identity.js';
import { AuthRole, makeAuth } from '../../../lib/link/handshake/auth.js';
import { refusal } from '../../../lib/link/handshake/refusals.js';
import { Link, type LinkOwner, type LinkTraffic } from '../../../lib/link/link.js';
import type { TlsFacts } from '../../../lib/link/transport/tls.js';
import { Timers } from '../../../lib/util/timers.js';
import { MessageReader } from '../../../lib/wire/message.js';
import {
  decodeMessage,
  encodeAuth,
  encodeHello,
  envDigests,
  GoodbyeCode,
  type Message,
  MessageType,
} from '../../../lib/wire/messages.js';
import { FakeClock } from '../../../spec/support/fake-clock.js';
import { newAuthority, newBook } from '../../../spec/support/members.js';
import type { Random } from '../../simulation/random.js';
import { type LivingTarget, must, type Outcome, type Parts, type Trial } from '../target.js';
import { FedDuplex } from './fed-duplex.js';
import { fixedIdentity } from './fixed-identity.js';
import { frame, randomFrame, repairFrames } from './frames.js';
import { randomMessage, withLengths } from './messages.js';
import { endOf } from './session.js';

/** Longer than any deadline. */
const LONG_MS = 100_000;
const NO_BYTES = Buffer.alloc(0);
const [SYN, LENGTH_BYTES] = [1, 4];

const Setting = {
  SECRET: 1,
  PEER_HAS_SECRET: 2,
  TLS: 4,
  OBJECTS: 8,
  WRONG_PEER: 16,
  STUCK: 32,
  /** The network has an authority. */
  MEMBER: 64,
  PEER_IS_MEMBER: 128,
} as const;
const What = { SAYS: 0, HELLO: 3, AUTH: 4, FRAMES: 5, OPENS: 6, WAITS: 7 } as const;

const SELF = fixedIdentity(0);
/** One with a lower id, which decides, and one with a higher id, for which the node decides. */
const PEERS = [1, 2, 3, 4, 5, 6, 7, 8].map(fixedIdentity).sort((one, other) => (one.nodeId < other.nodeId ? -1 : 1));
const NETWORK_KEY = Buffer.alloc(32, 0x4e);
const BINDING = Buffer.alloc(32, 0x42);
const AUTHORITY = newAuthority();
const CERTIFICATES = new Map(
  [SELF, ...PEERS].map(({ nodeId, publicKey }) => [nodeId, AUTHORITY.issue({ publicKey, name: 'fuzzed' })]),
);

export const linkTargets: readonly LivingTarget[] = [true, false].map((client) => ({
  name: client ? 'link client' : 'link server',
  share: 2,

  generate(random) {
    const honest = [Buffer.from([What.HELLO, 0, random.below(16)]), Buffer.from([What.AUTH])];
    const parts: Buffer[] = [
      Buffer.from([random.pick([0, 3, 7, 192, 196, random.below(256)]), random.below(8), random.below(256)]),
    ];
    if (random.below(6) > 0) parts.push(...honest);
    for (let count = random.below(5); count > 0; count--) parts.push(randomPart(random));
    return parts;
  },

  repair(parts, random) {
    for (let index = 1; index < parts.length; index++) {
      const what = (parts[index][0] ?? 0) % 8;
      const rest = parts[index].subarray(1);
      if (what < What.HELLO) parts[index] = Buffer.concat([Buffer.from([what]), withLengths(rest)]);
      else if (what === What.FRAMES) parts[index] = Buffer.concat([Buffer.from([what]), repairFrames(rest, random)]);
    }
  },

  start: (parts) => new LinkTrial(client, parts),
}));

class LinkTrial implements Trial, LinkOwner, LinkTraffic {
  readonly listenAddresses = ['tcp://10.0.0.1:1'];
  private readonly duplex = new FedDuplex();
  private readonly clock = new FakeClock();
  private readonly timers = new Timers(this.clock);
  private readonly link: Link;
  private readonly parts: Buffer[];
  private readonly setup: Buffer;
  private readonly peer: Identity;
  private readonly events: Outcome[] = [];
  private readonly received = new Set<number>();
  private nodeHello: Buffer = NO_BYTES;
  private peerHello: Buffer = NO_BYTES;
  /** The peer has sent a valid AUTH for its HELLO. */
  private isProved = false;
  private isControlOpen: boolean;
  private nextStream: number;
  private wait = 5;

  constructor(
    private readonly client: boolean,
    [setup = NO_BYTES, ...parts]: Parts,
  ) {
    this.setup = setup;
    this.parts = parts;
    this.peer = PEERS[(setup[1] ?? 0) % PEERS.length];
    this.isControlOpen = client;
    this.nextStream = client ? 2 : 3;
    this.duplex.isStuck = this.is(Setting.STUCK);
    const reader = new MessageReader(decodeMessage, (message, bytes) => this.onNodeSays(message, bytes));
    let streamId = 0;
    this.duplex.onFrame = (_type, _flags, id) => {
      streamId = id;
    };
    this.duplex.onPayload = (chunk) => {
      if (streamId === 1) reader.push(chunk);
    };
    const { timers } = this;
    this.link = new Link(this.duplex, {
      self: { ...SELF, role: 'peer', envDigests: envDigests([]) },
      owner: this,
      traffic: this,
      direction: client ? 'outbound' : 'inbound',
      address: 'fuzzed',
      client,
      purpose: 'join',
      expect: this.is(Setting.WRONG_PEER) ? PEERS[0].nodeId : undefined,
      networkKeys: this.is(Setting.SECRET) ? [NETWORK_KEY] : [],
      members: this.is(Setting.MEMBER) ? newBook(AUTHORITY, { acceptsSecret: this.is(Setting.SECRET) }) : undefined,
      certificate: this.is(Setting.MEMBER) ? CERTIFICATES.get(SELF.nodeId) : undefined,
      tls: this.is(Setting.TLS) ? this.facts() : undefined,
      timers,
      handshakeTimeoutMs: 5_000,
      maxMessageBytes: 64 * 1024,
      session: { keepAliveMs: 0, closeTimeoutMs: 5_000 },
    });
    this.link.start();
  }

  advance(): boolean {
    this.clock.runImmediates();
    const part = this.parts.shift();
    if (part !== undefined) {
      this.act((part[0] ?? 0) % 8, part.subarray(1));
      return false;
    }
    this.clock.advance(LONG_MS);
    if (--this.wait === 0) this.link.destroy();
    return this.wait < -2;
  }

  finish(): Outcome[] {
    const { events, link, duplex, timers } = this;
    duplex.check();
    must(events.at(-1) === 'closed' && events.indexOf('closed') === events.length - 1, `it ends with ${events.join()}`);
    must(events.filter((event) => event === 'up').length <= 1, 'it is up twice');
    must(timers.size === 0, `${timers.size} deadlines are left`);
    must(link.session.streamCount === 0 && link.session.unreadBytes === 0, 'streams or bytes of them are left');
    must(duplex.destroyed, 'its Duplex is left');
    // The purpose of the handshake: only a peer that has proved its identity and membership gets a link or is believed.
    must(link.peerId === '' || this.isProved, 'it accepts a peer without a proof');
    if (!this.client && this.is(Setting.TLS)) {
      must(this.isProved || !this.received.has(MessageType.HELLO), 'it reveals its identity to a peer without a proof');
    }
    if (!this.client)
      must(this.isProved || !this.received.has(MessageType.AUTH), 'it sends its proof to a peer without a proof');
    return [events.join(' '), ...events];
  }

  // --- callbacks of the link ---

  onHello(link: Link): ReturnType<LinkOwner['onHello']> {
    this.events.push('proved');
    must(link.peerId === this.peer.nodeId && this.isProved, 'it believes a peer without a proof');
    return this.is(Setting.OBJECTS)
      ? refusal(GoodbyeCode.LIMIT, 'ERR_STARLANE_LINK_LIMIT', 'enough', 'enough')
      : undefined;
  }

  onDecide(link: Link): void {
    this.events.push('decides');
    const how = (this.setup[2] ?? 0) % 4;
    if (how === 0) link.refuse(refusal(GoodbyeCode.DUPLICATE, 'ERR_STARLANE_DUPLICATE_LINK', link.peerId, ''));
    else if (how > 1) link.accept();
  }

  onUp(link: Link): void {
    this.events.push('up');
    must(link.peerId === this.peer.nodeId && this.isProved, 'it is up with a peer without a proof');
    link.acceptor = { onStream: (stream) => stream.accept() };
    link.send({ type: MessageType.SYNCED });
    link.promote('mesh');
  }

  onPromoted(): void {
    this.events.push('promoted');
  }

  onMessage(_link: Link, message: Message): void {
    must(this.events.includes('up') && !this.events.includes('down'), 'a message when the link is not up');
    const event = `message ${message.type}`;
    if (this.events.at(-1) !== event) this.events.push(event);
  }

  onNotice(): void {}

  onUnblocked(): void {}

  onDown(_link: Link, reason: Error | undefined): void {
    this.events.push('down', endOf(reason));
  }

  onClosed(): void {
    this.events.push('closed');
  }

  // --- actions of the peer ---

  private act(what: number, rest: Buffer): void {
    const { duplex, clock } = this;
    switch (what) {
      case What.HELLO:
        this.say(this.hello(rest));
        break;
      case What.AUTH:
        this.say(this.auth());
        break;
      case What.FRAMES:
        duplex.feed(rest);
        break;
      case What.OPENS:
        duplex.feed(frame(0, SYN, this.nextStream, rest.length, rest));
        this.nextStream += 2;
        break;
      case What.WAITS:
        clock.advance(20 * (rest[0] ?? 1));
        break;
      default:
        this.say(rest);
    }
  }

  /** Bytes on the control stream. */
  private say(bytes: Buffer): void {
    if (bytes[LENGTH_BYTES] === MessageType.HELLO) this.peerHello = bytes.subarray(LENGTH_BYTES);
    this.duplex.feed(frame(0, this.isControlOpen ? 0 : SYN, 1, bytes.length, bytes));
    this.isControlOpen = true;
  }

  private hello([, flags = 0]: Buffer): Buffer {
    return encodeHello({
      version: 1,
      minVersion: 1,
      nodeId: this.peer.nodeId,
      publicKey: this.peer.publicKey,
      bootId: '00000000-0000-4000-8000-000000000001',
      role: 'peer',
      flags: flags & 3,
      capabilities: 0,
      envDigests: envDigests([]),
      listenAddresses: [],
      nonce: Buffer.alloc(16, flags),
    });
  }

  private auth(): Buffer {
    const isTls = this.is(Setting.TLS);
    const [own, others] = [this.peerHello, this.nodeHello];
    // Over tls the client does not wait for the HELLO of the server.
    const serverHello = this.client ? own : isTls ? NO_BYTES : others;
    const auth = makeAuth(
      {
        role: this.client ? AuthRole.SERVER : AuthRole.CLIENT,
        binding: isTls ? BINDING : NO_BYTES,
        clientHello: this.client ? others : own,
        serverHello,
      },
      this.peer.sign,
      this.is(Setting.PEER_HAS_SECRET) ? [NETWORK_KEY] : [],
      this.is(Setting.PEER_IS_MEMBER) && !isTls ? CERTIFICATES.get(this.peer.nodeId) : undefined,
    );
    // Necessary for a valid proof, not sufficient.
    const hasSame = this.is(Setting.SECRET) === this.is(Setting.PEER_HAS_SECRET);
    const isMember = this.is(Setting.PEER_IS_MEMBER) || (this.is(Setting.SECRET) && hasSame);
    if (this.is(Setting.MEMBER) ? isMember : hasSame) this.isProved = true;
    return encodeAuth(auth);
  }

  private onNodeSays(message: Message, bytes: Uint8Array): void {
    this.received.add(message.type);
    if (message.type === MessageType.HELLO) this.nodeHello = Buffer.from(bytes);
  }

  private facts(): TlsFacts {
    const { publicKey, nodeId } = (this.setup[2] ?? 0) & 0x80 ? PEERS[0] : this.peer;
    const isDerived = ((this.setup[2] ?? 0) & 0x40) === 0;
    return {
      binding: BINDING,
      certificateKey: isDerived ? publicKey : undefined,
      certificate: isDerived && this.is(Setting.PEER_IS_MEMBER) ? CERTIFICATES.get(nodeId) : undefined,
      peerName: isDerived ? undefined : 'a name',
      fault: undefined,
    };
  }

  private is(setting: number): boolean {
    return ((this.setup[0] ?? 0) & setting) !== 0;
  }
}

function randomPart(random: Random): Buffer {
  const what = random.below(8);
  switch (what) {
    case What.FRAMES:
      return Buffer.concat([Buffer.from([what]), randomFrame(random, [1, 1, 2, 3, 4])]);
    case What.OPENS:
      return Buffer.concat([Buffer.from([what]), random.bytes(random.below(60))]);
    case What.HELLO:
    case What.AUTH:
    case What.WAITS:
      return Buffer.from([what, random.below(256), random.below(256)]);
    default:
      return Buffer.concat([Buffer.from([what]), randomMessage(random)]);
  }
}
