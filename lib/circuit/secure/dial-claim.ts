// The accepting end of a secure circuit: what an OPEN claims, checked, and the answer to it.

import { starlaneError } from '../../errors.js';
import type { Identity } from '../../identity/identity.js';
import { verifySignature } from '../../identity/signatures.js';
import { encodeProof, readProof } from '../../wire/circuit-proof.js';
import type { Open } from '../../wire/open.js';
import { EphemeralKey } from './ephemeral-key.js';
import { type CircuitKeys, circuitKeys } from './key-schedule.js';
import { type ChosenKey, chooseKey } from './network-keys.js';
import type { KeyCheck } from './secure-dial.js';
import { acceptStatement, acceptTranscript, dialStatement, dialTranscript } from './transcript.js';

/** The answer to a secure circuit: what the reply is to say, and the keys of what follows. */
export interface SecureAnswer {
  readonly proof: Buffer;
  readonly keys: CircuitKeys;
}

/**
 * The node that an OPEN names has signed it. It need not be there now, since anybody may repeat what was signed once: that
 * shows when it confirms.
 */
export class DialClaim {
  private readonly transcript: Buffer;
  private readonly ephemeral: Buffer;
  private readonly chosen: ChosenKey;
  private readonly signature: Buffer;

  /** @throws ERR_STARLANE_SECURE when it has not */
  constructor(
    open: Open,
    private readonly identity: Pick<Identity, 'publicKey' | 'sign'>,
    networkKeys: readonly Uint8Array[],
    checkKey: KeyCheck,
  ) {
    const { proof, src } = open;
    if (proof === undefined) throw starlaneError('ERR_STARLANE_SECURE', `the OPEN has no proof of ${src}`);
    const { publicKey, ephemeral, signature, keys } = readProof(proof);
    checkKey(src, publicKey);
    this.transcript = dialTranscript(open, { publicKey, ephemeral });
    if (!verifySignature(publicKey, dialStatement(this.transcript), signature)) {
      throw starlaneError('ERR_STARLANE_SECURE', `the OPEN is not what ${src} has signed`);
    }
    this.chosen = chooseKey(keys, networkKeys);
    // The bytes of the OPEN are used again, maybe before the circuit is accepted.
    this.ephemeral = Buffer.from(ephemeral);
    this.signature = Buffer.from(signature);
  }

  /** @param port the one that answers. @throws ERR_STARLANE_SECURE when no secret can be shared with the dialler */
  accept(port: number): SecureAnswer {
    const { publicKey, sign } = this.identity;
    const own = new EphemeralKey();
    const keys = { publicKey, ephemeral: own.publicKey };
    const accept = acceptTranscript(this.transcript, this.signature, keys, port);
    return {
      proof: encodeProof({ ...keys, signature: sign(acceptStatement(accept)), keys: this.chosen.told }),
      keys: circuitKeys(own.agree(this.ephemeral), this.chosen.networkKey, accept),
    };
  }
}
