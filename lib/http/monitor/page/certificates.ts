// When a certificate of a member needs attention. Members renew theirs when half of the lifetime is left, so less than a quarter means that it does not work.

import type { MemberRow } from '../snapshot.js';

export type CertificateState = 'valid' | 'expiring' | 'expired';

const WARN_BELOW = 1 / 4;

export function certificateState({ since, until }: MemberRow, now: number): CertificateState {
  if (now >= until) return 'expired';
  return until - now < (until - since) * WARN_BELOW ? 'expiring' : 'valid';
}
