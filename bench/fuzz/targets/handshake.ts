// The handshake of one circuit with a relay in between that alters what it passes on. The first part says which handshake it is; each
// other one is an alteration.
//
//   part    u8 where | u16 which byte | u8 XOR, or 0: cut there

import {
  AcceptHandshake,
  DialHandshake,
  type HandshakeContext,
  signedProof,
} from '../../../lib/circuit/secure/handshake.js';
import type { CircuitKeys } from '../../../lib/circuit/secure/transcript.js';
import { StarlaneError } from '../../../lib/errors.js';
import { CIRCUIT_PROOF_BYTES } from '../../../lib/wire/circuit-proof.js';
import { encodeOpen, type Open, tryReadOpen } from '../../../lib/wire/open.js';
import { encodeReply, tryReadReply } from '../../../lib/wire/open-reply.js';
import { fakeKem } from '../../../spec/support/fake-kem.js';
import { must, type Outcome, type Parts, type PureTarget, wayOf } from '../target.js';
import { fixedIdentity } from './fixed-identity.js';

const [SOURCE, SERVER] = [fixedIdentity(1), fixedIdentity(2)];
const NO_BYTES = Buffer.alloc(0);
const Setting = { FIRST: 1, SIGNED: 2, NO_KEM: 4, NO_SECRET: 8 } as const;
const Where = { OPEN: 0, REPLY: 1, BEHIND: 2, CIPHERTEXT: 3 } as const;
const PLACES = 4;
const NOW_S = 1_700_000_000;
const TERMS = {
  src: SOURCE.nodeId,
  srcPort: 50_000,
  dst: SERVER.nodeId,
  dstPort: 7,
  circuitId: Buffer.alloc(16, 1),
  env: '0011223344556677',
  service: 'echo',
};

export const handshake: PureTarget = {
  name: 'handshake',
  share: 0.5,

  generate: (random) => [
    Buffer.from([random.below(16)]),
    ...Array.from({ length: random.below(3) }, () =>
      Buffer.from([random.below(PLACES), random.below(5), random.below(256), random.pick([0, 1, 0x80, 0xff])]),
    ),
  ],

  run([setup = NO_BYTES, ...changes]: Parts): Outcome[] {
    const settings = setup[0] ?? 0;
    try {
      return [pass(settings, changes)];
    } catch (error) {
      if (!(error instanceof StarlaneError)) throw error;
      const { code } = error;
      must(code === 'ERR_STARLANE_SECURE' || code === 'ERR_STARLANE_MESSAGE', `it is refused with ${code}`);
      must(changes.length > 0, 'it refuses what nobody has altered');
      return [`${settings} ${wayOf(error)}`];
    }
  },
};

function pass(settings: number, changes: readonly Buffer[]): Outcome {
  const is = (setting: number): boolean => (settings & setting) !== 0;
  const networkKeys = is(Setting.NO_SECRET) ? [] : [Buffer.alloc(32, 3)];
  const common = { networkKeys, kem: is(Setting.NO_KEM) ? undefined : fakeKem, checkKey: () => {} };
  const known = { publicKey: SERVER.publicKey, isHybrid: true, nowS: NOW_S };
  const source: HandshakeContext = { ...common, identity: SOURCE };
  const alter = (where: number, bytes: Buffer): Buffer => altered(bytes, where, changes);

  const dial = new DialHandshake(TERMS, source, is(Setting.FIRST) ? undefined : known);
  const proof = is(Setting.SIGNED) ? signedProof(TERMS, SOURCE, known) : dial.proof;
  const sent = encodeOpen({ ...TERMS, hopLimit: 4, remainingMs: 1000, proof });
  const open = tryReadOpen(alter(Where.OPEN, sent))?.open;
  if (open === undefined) return 'OPEN is cut';
  const accepted = new AcceptHandshake(open, { ...common, identity: SERVER });
  must(
    isSame(open, tryReadOpen(sent)?.open as Open, accepted.signedAtS === undefined),
    'it takes an OPEN that was altered',
  );
  if (!accepted.isEncrypted) return 'signed';

  const answer = accepted.accept(7);
  const reply = tryReadReply(
    alter(Where.REPLY, encodeReply({ code: 0, port: 7, at: SERVER.nodeId, proof: answer.proof })),
  );
  if (reply === undefined) return 'the reply is cut';
  const behind = alter(Where.BEHIND, answer.behind);
  const bytes = dial.bytesBehind(reply.reply);
  if (bytes > behind.length) return 'the key is cut';
  const fault = dial.verify(reply.reply, behind.subarray(0, bytes));
  if (fault !== undefined) throw fault;
  must(answer.behind.equals(behind), 'it takes a key that was altered');
  const own = Reflect.get(dial, 'keys') as CircuitKeys;
  if (!('bytes' in answer.keys)) {
    must(textOf(own) === textOf(answer.keys), 'the two ends have other keys');
    return `${settings} has keys`;
  }
  const { ciphertext } = Reflect.get(dial, 'kem') as { ciphertext: Buffer };
  const arrived = alter(Where.CIPHERTEXT, ciphertext);
  if (arrived.length < ciphertext.length) return 'the ciphertext is cut';
  const isEqual = textOf(own) === textOf(answer.keys.keys(arrived));
  must(isEqual === arrived.equals(ciphertext), 'the keys do not follow from the ciphertext');
  return `${settings} has quantum-safe keys ${isEqual}`;
}

function altered(bytes: Buffer, where: number, changes: readonly Buffer[]): Buffer {
  let result = Buffer.from(bytes);
  for (const change of changes) {
    if ((change[0] ?? 0) % PLACES !== where || result.length === 0) continue;
    const at = (((change[1] ?? 0) << 8) | (change[2] ?? 0)) % result.length;
    if ((change[3] ?? 0) === 0) result = result.subarray(0, at);
    else result[at] ^= change[3];
  }
  return result;
}

/** Whether all is the same that relays must not alter. */
function isSame(one: Open, other: Open, isFirst: boolean): boolean {
  // Handshake 1 does not sign its hints: another one makes other keys, or none.
  const proofBytes = isFirst ? CIRCUIT_PROOF_BYTES : undefined;
  const text = ({ src, srcPort, dst, dstPort, circuitId, env, service, proof }: Open): string =>
    JSON.stringify([src, srcPort, dst, dstPort, circuitId, env, service, proof?.subarray(0, proofBytes)]);
  return text(one) === text(other);
}

function textOf({ fromDialler, fromServer }: CircuitKeys): string {
  return [fromDialler, fromServer].map(({ key, iv }) => key.toString('hex') + iv.toString('hex')).join(' ');
}
