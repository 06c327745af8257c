// The dialler's end of a secure circuit, from its OPEN to the reply.

import type { NodeId } from '../../address.js';
import { starlaneError } from '../../errors.js';
import type { Identity } from '../../identity/identity.js';
import { verifySignature } from '../../identity/signatures.js';
import type { MuxStream } from '../../mux/stream/stream.js';
import { encodeProof, readProof } from '../../wire/circuit-proof.js';
import type { ReadReply } from '../../wire/open-reply.js';
import { EphemeralKey } from './ephemeral-key.js';
import { type CircuitKeys, circuitKeys } from './key-schedule.js';
import { chosenKey, offeredKeys } from './network-keys.js';
import { SecureStream } from './secure-stream.js';
import { acceptStatement, acceptTranscript, type CircuitTerms, dialStatement, dialTranscript } from './transcript.js';

/** Throws ERR_STARLANE_SECURE when it is not the key of that node. */
export type KeyCheck = (nodeId: NodeId, publicKey: Uint8Array) => void;

export class SecureDial {
  /** What the OPEN is to say. */
  readonly proof: Buffer;
  private readonly ephemeral = new EphemeralKey();
  private readonly transcript: Buffer;
  private keys: CircuitKeys | null = null;

  constructor(
    private readonly terms: CircuitTerms,
    { publicKey, sign }: Pick<Identity, 'publicKey' | 'sign'>,
    private readonly networkKeys: readonly Uint8Array[],
    private readonly checkKey: KeyCheck,
  ) {
    const keys = { publicKey, ephemeral: this.ephemeral.publicKey };
    this.transcript = dialTranscript(terms, keys);
    this.proof = encodeProof({
      ...keys,
      signature: sign(dialStatement(this.transcript)),
      keys: offeredKeys(networkKeys),
    });
  }

  /** Why an acceptance is not that of the destination; undefined when it is. */
  objection(reply: ReadReply): Error | undefined {
    try {
      this.keys = this.keysOf(reply);
      return undefined;
    } catch (error) {
      return error as Error;
    }
  }

  /** Stands in for a stream whose acceptance had no {@link objection}, and confirms it. */
  carry(stream: MuxStream): SecureStream {
    const { keys } = this;
    if (keys === null) throw starlaneError('ERR_STARLANE_SECURE', 'the reply was not checked');
    this.keys = null;
    return SecureStream.dialled(stream, keys);
  }

  private keysOf({ proof, port }: ReadReply): CircuitKeys {
    const { dst } = this.terms;
    if (proof === undefined) throw starlaneError('ERR_STARLANE_SECURE', `the reply has no proof of ${dst}`);
    const { publicKey, ephemeral, signature, keys } = readProof(proof);
    this.checkKey(dst, publicKey);
    const dialSignature = readProof(this.proof).signature;
    const accept = acceptTranscript(this.transcript, dialSignature, { publicKey, ephemeral }, port);
    if (!verifySignature(publicKey, acceptStatement(accept), signature)) {
      throw starlaneError('ERR_STARLANE_SECURE', `the reply is not what ${dst} has signed`);
    }
    return circuitKeys(this.ephemeral.agree(ephemeral), chosenKey(keys, this.networkKeys), accept);
  }
}
