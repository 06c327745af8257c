// How a joiner, which knows nothing of a network but its id, tells the authorities of that network from others: by the hash of a key,
// and by statements with which one authority has handed over to the next.

import { authorityKeyOf } from '../../identity/credentials.js';
import { type Member, networkIdOf, readCertificate } from '../../identity/member-certificate.js';
import { verifySignature } from '../../identity/signatures.js';
import { decodeStatement, StatementKind } from '../../wire/statements.js';

/** A certificate of an authority, in DER, with its raw key. */
interface KnownAuthority {
  readonly certificate: Uint8Array;
  readonly publicKey: Uint8Array;
}

/**
 * Returns the authorities among `certificates` that are of the network.
 * @param statements among them are successions
 * @throws ERR_STARLANE_CREDENTIALS when a certificate is not that of an authority
 */
export function authoritiesOf(
  networkId: string,
  certificates: readonly Uint8Array[],
  statements: readonly Uint8Array[],
  nowMs: number,
): KnownAuthority[] {
  const known = certificates.map((certificate) => ({
    certificate,
    publicKey: authorityKeyOf(certificate, 'the other end'),
  }));
  const trusted = new Set([networkId]);
  // Each round follows one more succession. Both authorities have signed it, so it counts in both directions.
  for (let round = 0; round < statements.length; round++) {
    for (const statement of statements) follow(statement, trusted, nowMs);
  }
  return known.filter(({ publicKey }) => trusted.has(networkIdOf(publicKey)));
}

function follow(bytes: Uint8Array, trusted: Set<string>, nowMs: number): void {
  const statement = decodeStatement(bytes);
  if (statement?.kind !== StatementKind.SUCCESSION) return;
  const { authority, next, signed, signature, nextSignature, untilS } = statement;
  const [from, to] = [networkIdOf(authority), networkIdOf(next)];
  if (trusted.has(from) === trusted.has(to)) return;
  // The old authority holds no longer.
  if (trusted.has(to) && untilS * 1_000 <= nowMs) return;
  if (!verifySignature(authority, signed, signature) || !verifySignature(next, signed, nextSignature)) return;
  trusted.add(trusted.has(from) ? to : from);
}

/** Returns the member with this certificate, if one of the authorities has signed it. @throws ERR_STARLANE_CERTIFICATE */
export function memberOf(certificate: Uint8Array, authorities: readonly KnownAuthority[]): Member {
  return readCertificate(
    certificate,
    authorities.map(({ publicKey }) => publicKey),
  );
}
