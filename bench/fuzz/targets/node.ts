// A whole node between two hostile peers: circuits to it and through it, circuits of its own that they answer, and what they
// send meanwhile. The first part is the setup; the others are described below.
//
//   part    u8 what | u8 which | message, OPEN, reply or data

import type { DialHandshake, SecureAnswer } from '../../../lib/circuit/secure/handshake.js';
import { CircuitSecurity } from '../../../lib/circuit/secure/security.js';
import { SecureStream } from '../../../lib/circuit/secure/stream.js';
import { StarlaneError } from '../../../lib/errors.js';
import { createIdentity } from '../../../lib/identity/identity.js';
import { networkKeyOf } from '../../../lib/identity/network-key.js';
import { type AllowRequest, createNode, type Node, type Socket } from '../../../lib/index.js';
import type { MuxStream } from '../../../lib/mux/stream/stream.js';
import { CircuitAbility } from '../../../lib/wire/circuit-proof.js';
import { envDigests } from '../../../lib/wire/messages.js';
import { encodeOpen, type Open, tryReadOpen } from '../../../lib/wire/open.js';
import { encodeReply, tryReadReply } from '../../../lib/wire/open-reply.js';
import { fakeKem } from '../../../spec/support/fake-kem.js';
import { RawPeer } from '../../../spec/support/raw-peer.js';
import type { Random } from '../../simulation/random.js';
import { type LivingTarget, must, type Outcome, type Parts, type Trial, wayOf } from '../target.js';
import { fixedIdentity, fixedKey } from './fixed-identity.js';
import { randomMessage, withLengths } from './messages.js';
import { randomOpen, randomReply, withLength } from './open.js';

const KEY = fixedKey(0);
const SELF = createIdentity(KEY);
const PEERS = [fixedIdentity(1), fixedIdentity(2)];
const NO_BYTES = Buffer.alloc(0);
const ENV = envDigests([])[0];
/** What its dials and the peers' circuits may be about. */
const SERVICES = ['echo', '', 'silent', 'nobody', '__proto__', 'constructor', SELF.nodeId];

const Setting = { PEERS_JOIN: 1, FEW_STREAMS: 2, SECRET: 4, ALLOW: 8 } as const;
const What = {
  OPENS: 0,
  WRITES: 3,
  ANSWERS: 4,
  ENDS: 6,
  RESETS: 7,
  SAYS: 8,
  DIALS: 9,
  WAITS: 11,
  /** The steps that need keys, before the peer sends anything. */
  SECURE_OPENS: 12,
  SECURE_GOES_ON: 14,
  SECURE_ANSWERS: 15,
  SECURE_WRITES: 16,
} as const;
const KINDS = 17;
const SECRET = 'the secret of this network';
const NETWORK_KEY = networkKeyOf(Buffer.from(SECRET));

export const node: LivingTarget = {
  name: 'node',
  share: 0.2,
  waitsMs: 10_000,

  generate: (random) => [
    Buffer.from([random.below(16)]),
    ...(random.below(3) === 0 ? secureParts(random) : []),
    ...Array.from({ length: 1 + random.below(6) }, () => randomPart(random)),
  ],

  repair(parts) {
    for (let index = 1; index < parts.length; index++) {
      const [head, rest] = [parts[index].subarray(0, 2), parts[index].subarray(2)];
      const what = (head[0] ?? 0) % KINDS;
      if (what < What.WRITES || what === What.ANSWERS) parts[index] = Buffer.concat([head, withLength(rest)]);
      else if (what === What.SAYS) parts[index] = Buffer.concat([head, withLengths(rest)]);
    }
  },

  start: (parts) => new NodeTrial(parts),
};

class NodeTrial implements Trial {
  private readonly node: Node;
  private readonly peers: RawPeer[];
  private readonly opened: MuxStream[] = [];
  private readonly sockets: Socket[] = [];
  private readonly secureDials: Array<{ peer: RawPeer; stream: MuxStream; dial: DialHandshake }> = [];
  private readonly secureStreams: SecureStream[] = [];
  private readonly securities: CircuitSecurity[];
  private readonly outcomes = new Set<Outcome>();
  private readonly answered = new Set<MuxStream>();
  private fault: Error | undefined;
  private isDone = false;

  constructor([setup = NO_BYTES, ...parts]: Parts) {
    const is = (setting: number): boolean => ((setup[0] ?? 0) & setting) !== 0;
    const client = is(Setting.PEERS_JOIN);
    this.node = createNode({
      identity: KEY,
      // It does not dial nodes that it learns of by gossip.
      role: 'server',
      closeTimeoutMs: 1,
      maxStreams: is(Setting.FEW_STREAMS) ? 2 : 64,
      acceptBacklog: 2,
      maxServicesPerPeer: 4,
      maxNodes: 4,
      secret: is(Setting.SECRET) ? SECRET : undefined,
      allow: is(Setting.ALLOW) ? decide : undefined,
    });
    this.peers = PEERS.map((identity) => new RawPeer(client, identity));
    const networkKey = is(Setting.SECRET) ? NETWORK_KEY : undefined;
    const networkKeys = networkKey === undefined ? [] : [networkKey];
    for (const peer of this.peers) peer.networkKey = networkKey;
    // The first peer knows handshake 1 alone, the second one 2 with a KEM.
    const abilities = [0, CircuitAbility.HANDSHAKE_2 | CircuitAbility.HYBRID];
    const common = { networkKeys, kem: fakeKem, warn: () => {} };
    this.securities = PEERS.map((identity, index) => {
      const publicKeyOf = (nodeId: string) => (nodeId === SELF.nodeId ? SELF.publicKey : undefined);
      return new CircuitSecurity({ ...common, identity, publicKeyOf, abilitiesOf: () => abilities[index] });
    });
    const { security } = Reflect.get(this.node, 'circuits') as { security: CircuitSecurity };
    Object.assign(Reflect.get(security, 'setup'), {
      kem: fakeKem,
      abilitiesOf: (nodeId: string) => abilities[PEERS.findIndex((peer) => peer.nodeId === nodeId)] ?? 0,
    });
    this.run(client, parts).then(
      () => {
        this.isDone = true;
      },
      (error) => {
        this.fault = error as Error;
        this.isDone = true;
      },
    );
  }

  advance(): boolean {
    return this.isDone;
  }

  finish(): Outcome[] {
    if (this.fault !== undefined) throw this.fault;
    const { streams, relay, dials, holds, servers } = this.node.stats();
    must(streams.links + streams.loopback === 0, 'streams are left');
    must(relay.heldBytes === 0, `${relay.heldBytes} bytes of circuits are left`);
    must(relay.circuits + relay.pending === 0, 'circuits are left');
    must(dials.pending === 0 && holds === 0 && servers.openSockets === 0, 'dials or sockets are left');
    return [...this.outcomes];
  }

  private async run(client: boolean, parts: readonly Buffer[]): Promise<void> {
    const { node, peers } = this;
    node.on('warning', (error) => this.noteError(error));
    node.on('error', (error) => {
      this.fault = error;
    });
    node.on('service', ({ local }) => this.outcomes.add(`service ${local}`));
    node.bind('echo', (socket) => this.watch(socket).pipe(socket));
    node.bind('silent:7', (socket) => this.watch(socket));
    for (const peer of peers) {
      node.attach(peer.duplex, { initiator: !client }).catch((error) => this.noteError(error));
      await peer.handshake();
      peer.announce('told');
    }
    for (const part of parts) {
      this.act((part[0] ?? 0) % KINDS, part[1] ?? 0, part.subarray(2));
      await turn();
    }
    for (let turns = 0; turns < 8; turns++) await turn();
    for (const { session } of peers) session.destroy();
    for (const socket of this.sockets) socket.destroy();
    await node.close();
  }

  private act(what: number, which: number, rest: Buffer): void {
    const peer = this.peers[which & 1];
    const index = which >> 1;
    switch (what) {
      case What.WRITES:
        this.opened[index % (this.opened.length || 1)]?.write(rest);
        break;
      case What.ANSWERS:
      case What.ANSWERS + 1:
        peer.streams[index % (peer.streams.length || 1)]?.write(rest);
        break;
      case What.ENDS:
        streamOf(peer, this.opened, index)?.end();
        break;
      case What.RESETS:
        streamOf(peer, this.opened, index)?.reset(index & 0xff);
        break;
      case What.SAYS:
        peer.say(rest);
        break;
      case What.DIALS:
      case What.DIALS + 1:
        this.dial(index & 1 ? `@${peer.identity.nodeId}:${index}` : 'told', (rest[0] ?? 0) % 2 === 1, rest);
        break;
      case What.WAITS:
        break;
      case What.SECURE_OPENS:
      case What.SECURE_OPENS + 1:
        this.openSecurely(which & 1, SERVICES[index % SERVICES.length]);
        break;
      case What.SECURE_GOES_ON:
        for (const dialled of this.secureDials.splice(0)) this.goOn(dialled);
        break;
      case What.SECURE_ANSWERS:
        for (const stream of peer.streams) this.answerSecurely(which & 1, stream);
        break;
      case What.SECURE_WRITES:
        for (const stream of this.secureStreams) {
          if (rest.length > 0) stream.write(rest);
          else stream.end();
        }
        break;
      default:
        if (!peer.session.isClosed && peer.session.canOpen) this.opened.push(peer.session.open(peer, rest));
    }
  }

  /** As an honest dialler would, up to the reply. */
  private openSecurely(who: number, service: string): void {
    const peer = this.peers[who];
    if (peer.session.isClosed || !peer.session.canOpen) return;
    const terms = {
      src: PEERS[who].nodeId,
      srcPort: 1,
      dst: SELF.nodeId,
      dstPort: service === 'silent' ? 7 : 0,
      circuitId: Buffer.alloc(16, this.opened.length),
      env: ENV,
      service,
    };
    const dial = this.securities[who].dial(terms);
    const stream = peer.session.open(peer, encodeOpen({ ...terms, hopLimit: 4, proof: dial.proof }));
    this.opened.push(stream);
    this.secureDials.push({ peer, stream, dial });
  }

  private goOn({ peer, stream, dial }: { peer: RawPeer; stream: MuxStream; dial: DialHandshake }): void {
    const received = peer.received(stream);
    const read = tryReadReply(received);
    if (read === undefined || read.reply.code !== 0 || stream.isClosed) return;
    const { reply, bytesRead } = read;
    const end = bytesRead + dial.bytesBehind(reply);
    if (end > received.length) return;
    const fault = dial.verify(reply, received.subarray(bytesRead, end));
    must(fault === undefined, 'it accepts what it then does not prove');
    this.outcomes.add(`quantum-safe ${dial.isQuantumSafe}`);
    this.outcomes.add('goes on');
    this.secureStreams.push(dial.carry(stream));
  }

  /** As an honest server would, to what the node has dialled. */
  private answerSecurely(who: number, stream: MuxStream): void {
    let open: Open | undefined;
    try {
      open = tryReadOpen(this.peers[who].received(stream))?.open;
    } catch {
      return;
    }
    if (open?.proof === undefined || stream.isClosed || this.answered.has(stream)) return;
    this.answered.add(stream);
    let answer: SecureAnswer;
    try {
      const handshake = this.securities[who].verifyOpen(open);
      this.outcomes.add(`handshake ${handshake.signedAtS === undefined ? 1 : 2}`);
      if (!handshake.isEncrypted) return;
      answer = handshake.accept(1);
    } catch (error) {
      // The other peer's, which the node has passed on unread.
      this.noteError(error as Error);
      return;
    }
    this.secureStreams.push(SecureStream.accepted(stream, answer.keys, () => this.outcomes.add('confirmed')));
    const reply = encodeReply({ code: 0, port: 1, at: PEERS[who].nodeId, proof: answer.proof });
    stream.write(Buffer.concat([reply, answer.behind]));
  }

  private dial(address: string, secure: boolean, first: Buffer): void {
    const socket = this.watch(this.node.dial(address, { timeoutMs: 20, secure }));
    this.outcomes.add('dials');
    socket.on('connect', () => this.outcomes.add('connected'));
    socket.write(first);
  }

  private watch(socket: Socket): Socket {
    this.sockets.push(socket);
    socket.on('error', (error) => this.noteError(error));
    socket.on('data', () => this.outcomes.add('data'));
    socket.on('end', () => this.outcomes.add('end'));
    return socket;
  }

  private noteError(error: Error): void {
    const { code, cause } = error as NodeJS.ErrnoException;
    must(typeof code === 'string', `an error without a code: ${error.stack}`);
    this.outcomes.add(
      error instanceof StarlaneError ? wayOf(error) : `${code} ${(cause as { code?: string })?.code ?? ''}`,
    );
  }
}

/** Every way to answer. */
function decide({ service }: AllowRequest): boolean | Promise<boolean> {
  if (service === 'silent') return Promise.resolve(true);
  if (service === 'constructor') throw new Error('no answer');
  return service === 'echo';
}

function streamOf(peer: RawPeer, opened: readonly MuxStream[], index: number): MuxStream | undefined {
  const all = [...opened, ...peer.streams];
  return all[index % (all.length || 1)];
}

/** An established secure circuit, in either direction. */
function secureParts(random: Random): Buffer[] {
  const [who, wait] = [random.below(2), Buffer.from([What.WAITS])];
  if (random.below(2) === 0) {
    const open = Buffer.from([What.SECURE_OPENS, who]);
    return [open, wait, wait, wait, Buffer.from([What.SECURE_GOES_ON]), wait];
  }
  const dial = Buffer.from([What.DIALS, who | 2, 1, 2, 3]);
  return [dial, wait, wait, Buffer.from([What.SECURE_ANSWERS, who]), wait, wait];
}

function randomPart(random: Random): Buffer {
  const what = random.below(KINDS);
  const which = random.below(8);
  const head = Buffer.from([what, which]);
  if (what < What.WRITES) {
    const [own, other] = [PEERS[which & 1].nodeId, PEERS[~which & 1].nodeId];
    const isFar = random.below(4) === 0;
    const open = randomOpen(random, {
      src: isFar ? 'AAAAAAAAAAA' : own,
      dst: random.pick([SELF.nodeId, SELF.nodeId, other, own]),
      service: random.pick(SERVICES),
      dstPort: random.pick([0, 0, 7]),
      env: ENV,
      visited: isFar ? [own] : [],
      relays: isFar ? 1 : 0,
      remainingMs: random.pick([undefined, 0, 1_000]),
    });
    return Buffer.concat([head, open, random.bytes(random.below(20))]);
  }
  if (what === What.ANSWERS || what === What.ANSWERS + 1) {
    const reply = randomReply(random, { at: PEERS[which & 1].nodeId, code: random.pick([0, 0, 0, random.below(10)]) });
    return Buffer.concat([head, reply, random.bytes(random.below(20))]);
  }
  if (what === What.SAYS) return Buffer.concat([head, randomMessage(random)]);
  return Buffer.concat([head, random.bytes(random.below(30))]);
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
