import { beforeEach, describe, expect, it } from '@jest/globals';
import { MemberBook, type MemberChange } from '../../lib/identity/member-book.js';
import { catchErrorsOfTicks } from '../support/caught-errors.js';
import { newAuthority, newBook, newMember } from '../support/members.js';

const DAY = 86_400_000;
const START = Date.UTC(2030, 0, 1);
const authority = newAuthority();

let now: number;
let book: MemberBook;
let changes: MemberChange[];

beforeEach(() => {
  now = START;
  book = newBook(authority, { now: () => now });
  changes = [];
  book.onChange((change) => changes.push(change));
});

describe('the book of members', () => {
  const caught = catchErrorsOfTicks();

  it('knows a member by its certificate, with its rights', () => {
    const { identity, statement } = newMember(authority, { name: 'db', rights: { relay: false, offer: ['db*'] } }, now);
    expect(book.add(statement)).toBe('new');
    expect(book.add(statement)).toBe('known');
    const { nodeId } = identity;
    expect(book.member(nodeId)).toMatchObject({ name: 'db' });
    expect([book.mayRelay(nodeId), book.mayOffer(nodeId, 'db1'), book.mayOffer(nodeId, 'web')]).toEqual([
      false,
      true,
      false,
    ]);
    expect(changes).toMatchObject([{ type: 'member', member: { nodeId } }]);
  });

  it('gives a node without a certificate no rights, unless the secret makes members', () => {
    const { identity } = newMember(authority);
    expect(book.rightsOf(identity.nodeId)).toBeUndefined();
    expect(newBook(authority, { acceptsSecret: true }).mayRelay(identity.nodeId)).toBe(true);
  });

  it('goes by the newest certificate of a key, in whatever order they come', () => {
    const { identity, statement: old } = newMember(authority, { rights: { offer: ['*'] } }, now);
    const { statement: young } = newMember(authority, { rights: { offer: ['web'] } }, now + 2_000, identity);
    now += 10_000;
    for (const order of [
      [old, young],
      [young, old],
    ]) {
      const one = newBook(authority, { now: () => now, statements: order });
      expect(one.mayOffer(identity.nodeId, 'db')).toBe(false);
      expect([...one.statements()]).toHaveLength(1);
      expect(one.add(old)).toBe('ignored');
    }
  });

  it('does not go back to an older certificate that lasts longer than the newest', () => {
    const { identity, statement: wide } = newMember(authority, { rights: { offer: ['*'] }, lifetimeMs: 30 * DAY }, now);
    const request = { rights: { offer: ['web'] }, lifetimeMs: DAY };
    const { statement: narrow } = newMember(authority, request, now + 2_000, identity);
    now += 10_000;
    for (const order of [
      [wide, narrow],
      [narrow, wide],
    ]) {
      const one = newBook(authority, { now: () => now, statements: order });
      now += 2 * DAY;
      one.sweep();
      expect(one.add(wide)).toBe('ignored');
      expect(one.isMember(identity.nodeId)).toBe(false);
      now -= 2 * DAY;
    }
  });

  it('blames no sender when a listener of this node throws', () => {
    const { statement } = newMember(authority, {}, now);
    book.onChange(() => {
      throw new Error('a fault of this node');
    });
    expect(book.add(statement)).toBe('new');
    expect(caught.map(({ message }) => message)).toEqual(['a fault of this node']);
  });

  it('ends a membership when its certificate expires, and says when that is', () => {
    const { identity, statement, certificate } = newMember(authority, { lifetimeMs: DAY }, now);
    book.add(statement);
    expect(book.nextChangeMs).toBe(START + DAY);
    now = START + DAY;
    expect(book.isMember(identity.nodeId)).toBe(false);
    expect(book.fault(identity.publicKey)?.code).toBe('ERR_STARLANE_CERTIFICATE_EXPIRED');
    book.sweep();
    expect(changes.at(-1)).toMatchObject({ type: 'expired', nodeId: identity.nodeId });
    expect(book.digest()).toEqual({ rootHigh: 0, rootLow: 0, count: 0 });
    expect(() => book.admit(certificate)).toThrow(/ended at 2030-01-02/);
  });

  it('refuses a certificate that begins later than the clock says', () => {
    const { certificate, statement } = newMember(authority, {}, now + 3_600_000);
    expect(book.add(statement)).toBe('ignored');
    expect(() => book.admit(certificate)).toThrow(/clock/);
  });

  it('revokes a key for good: no certificate of it holds, older or younger', () => {
    const { identity, statement, certificate } = newMember(authority, { lifetimeMs: DAY }, now);
    book.add(statement);
    expect(book.add(authority.revoke(identity.publicKey, now + DAY, now))).toBe('new');
    expect(changes.at(-1)).toMatchObject({ type: 'revoked', nodeId: identity.nodeId });
    const later = newMember(authority, { lifetimeMs: 3 * DAY }, now, identity);
    expect(book.add(later.statement)).toBe('ignored');
    expect(() => book.admit(certificate)).toThrow(
      expect.objectContaining({ code: 'ERR_STARLANE_REVOKED' }) as unknown as Error,
    );
    // Issued by somebody who did not know: the revocation outlives it.
    now += 2 * DAY;
    book.sweep();
    expect(book.isRevoked(identity.publicKey)).toBe(true);
    now += 2 * DAY;
    book.sweep();
    expect(book.revokedCount).toBe(0);
    expect([...book.statements()]).toEqual([]);
  });

  it('revokes a key whose certificate it has never seen, also where the secret makes members', () => {
    const { identity } = newMember(authority);
    const open = newBook(authority, { now: () => now, acceptsSecret: true });
    open.add(authority.revoke(identity.publicKey, now + DAY, now));
    expect(open.isMember(identity.nodeId)).toBe(false);
    expect(open.fault(identity.publicKey)?.code).toBe('ERR_STARLANE_REVOKED');
  });

  it('takes a revocation that was made later than its clock says', () => {
    const { identity, statement } = newMember(authority, {}, now);
    book.add(statement);
    expect(book.add(authority.revoke(identity.publicKey, now + 9 * DAY, now + 2 * DAY))).toBe('new');
  });

  it('is the same at all nodes when two issuers revoke one key', () => {
    const { identity } = newMember(authority);
    const [one, two] = [1, 2].map((days) => authority.revoke(identity.publicKey, now + days * DAY, now));
    const books = [
      [one, two],
      [two, one],
    ].map((statements) => newBook(authority, { now: () => now, statements }));
    expect(books[0].digest()).toEqual(books[1].digest());
    expect([...books[0].statements()]).toHaveLength(1);
  });

  it('throws for what is forged, malformed or cut, each time', () => {
    const { identity, statement } = newMember(authority, {}, now);
    const revocation = authority.revoke(identity.publicKey, now + DAY, now);
    const next = newAuthority();
    const succession = authority.succeed(next, now + DAY, now);
    for (const good of [statement, revocation, succession]) {
      const forged = Buffer.from(good);
      forged[forged.length - 1] ^= 1;
      for (const bad of [forged, good.subarray(0, -1), Buffer.concat([good, Buffer.of(1)])]) {
        expect(() => book.add(bad)).toThrow(
          expect.objectContaining({ code: 'ERR_STARLANE_CERTIFICATE' }) as unknown as Error,
        );
        expect(() => book.add(bad)).toThrow();
      }
    }
    expect(changes).toEqual([]);
  });

  it('ignores statements of another authority, and kinds of later versions', () => {
    const { statement, identity } = newMember(newAuthority(), {}, now);
    expect(book.add(statement)).toBe('ignored');
    expect(book.add(newAuthority().revoke(identity.publicKey, now + DAY, now))).toBe('ignored');
    expect(book.add(Buffer.of(200, 1, 2, 3))).toBe('ignored');
  });

  it('has room for so many members, and does not forget one for another', () => {
    const small = newBook(authority, { now: () => now, maxMembers: 1 });
    const [one, two] = [newMember(authority, {}, now), newMember(authority, {}, now)];
    small.add(one.statement);
    expect(small.add(two.statement)).toBe('ignored');
    expect(() => small.admit(two.certificate)).toThrow(/there are 1 members/);
    expect(small.isMember(one.identity.nodeId)).toBe(true);
  });
});

describe('the succession of an authority', () => {
  const next = newAuthority();

  it('lets certificates of both hold for a while, then those of the new one', () => {
    const [old, young] = [newMember(authority, {}, now), newMember(next, {}, now)];
    book.add(old.statement);
    expect(book.add(young.statement)).toBe('ignored');
    expect(book.add(authority.succeed(next, now + DAY, now))).toBe('new');
    expect(book.add(young.statement)).toBe('new');
    expect(book.authorities()).toEqual([authority.publicKey, next.publicKey]);
    now += DAY;
    expect([book.isMember(old.identity.nodeId), book.isMember(young.identity.nodeId)]).toEqual([false, true]);
    book.sweep();
    expect(book.authorities()).toEqual([next.publicKey]);
    expect(changes.map(({ type }) => type)).toEqual(['member', 'authority', 'member', 'expired', 'authority']);
    expect([...book.statements()]).toHaveLength(1);
  });

  it('ends the old one also for a node that was off when it ended', () => {
    const succession = authority.succeed(next, now + DAY, now);
    now += 2 * DAY;
    // As its folder has them.
    const back = new MemberBook({
      authorities: [authority.publicKey, next.publicKey],
      statements: [succession],
      acceptsSecret: false,
      now: () => now,
      maxMembers: 10,
    });
    expect(back.authorities()).toEqual([next.publicKey]);
    const [old, young] = [newMember(authority, {}, now), newMember(next, {}, now)];
    expect([back.add(old.statement), back.add(young.statement)]).toEqual(['ignored', 'new']);
    back.sweep();
    expect([...back.statements()]).toHaveLength(1);
    expect(back.nextChangeMs).toBeGreaterThan(now);
  });

  it('needs both keys', () => {
    const stranger = newAuthority();
    const claimed = authority.succeed(next, now + DAY, now);
    const forged = Buffer.concat([claimed.subarray(0, 33), stranger.publicKey, claimed.subarray(65)]);
    expect(() => book.add(forged)).toThrow();
  });

  it('is not possible for an authority that holds no more', () => {
    book.add(authority.succeed(next, now + DAY, now));
    now += DAY;
    expect(book.add(authority.succeed(newAuthority(), now + DAY, now))).toBe('ignored');
    expect(book.authorities()).toEqual([next.publicKey]);
  });
});
