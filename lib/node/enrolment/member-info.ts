// A member, as users see it.

import type { NodeId } from '../../address.js';
import { type Authority, CLOCK_TOLERANCE_MS } from '../../identity/authority.js';
import type { Member, MemberRights } from '../../identity/member-certificate.js';

/** What a certificate says of its member. */
export interface MemberInfo {
  readonly id: NodeId;
  /** For people and rules. */
  readonly name: string;
  readonly tags: readonly string[];
  readonly rights: MemberRights;
  /** When the certificate was issued. */
  readonly since: Date;
  /** When it expires, unless it is renewed. */
  readonly until: Date;
}

export function memberInfo(member: Member): MemberInfo {
  const { nodeId, name, tags, rights, notAfterMs } = member;
  const { relay, offer, issue } = rights;
  return {
    id: nodeId,
    name,
    tags: [...tags],
    rights: { relay, offer: [...offer], issue },
    since: new Date(issuedAtMs(member)),
    until: new Date(notAfterMs),
  };
}

/** Returns when a certificate was issued, in ms. Its own beginning is earlier, for clocks that are behind. */
export function issuedAtMs({ notBeforeMs }: Member): number {
  return notBeforeMs + CLOCK_TOLERANCE_MS;
}

/** Returns the lifetime that a certificate was issued with, in ms. */
export function lifetimeMsOf(member: Member): number {
  return member.notAfterMs - issuedAtMs(member);
}

/** Returns a certificate like this one that begins now. */
export function renewedBy(authority: Authority, member: Member, nowMs: number): Buffer {
  const { publicKey, name, tags, rights } = member;
  const lifetimeMs = lifetimeMsOf(member);
  // In whole seconds, or the lifetime would grow with each renewal; and after the last one, as the newest certificate of a key counts.
  const issuedMs = Math.max(Math.floor(nowMs / 1_000) * 1_000, issuedAtMs(member) + 1_000);
  return authority.issue({ publicKey, name, tags, rights, lifetimeMs }, issuedMs);
}
