// Renewal, revocation and a new authority, on real nodes with real folders.

import { once } from 'node:events';
import { copyFileSync, existsSync, readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from '@jest/globals';
import { readCredentials } from '../../../lib/identity/credentials.js';
import { networkIdOf } from '../../../lib/identity/member-certificate.js';
import type { Node } from '../../../lib/index.js';
import { createAuthority, enrol } from '../../../lib/members/index.js';
import { decodeToken } from '../../../lib/wire/token.js';
import { EnrolmentNet } from '../../support/enrolment.js';

let net: EnrolmentNet | undefined;

afterEach(async () => {
  await net?.close();
  net = undefined;
});

function make(): EnrolmentNet {
  net = new EnrolmentNet();
  return net;
}

interface Internals {
  membership: { renew(): Promise<void>; own: { der: Buffer; authority: Uint8Array } };
}
const internals = (node: Node) => (node as unknown as Internals).membership;

/** A second member, linked to the first one. */
async function pair(mesh: EnrolmentNet, rights: object = {}): Promise<{ issuer: Node; member: Node }> {
  const issuer = await mesh.start('first');
  await enrol(await issuer.invite({ name: 'web', rights }), { credentials: mesh.folder('web') });
  const member = await mesh.start('web');
  while (member.links().length === 0) await once(member, 'link');
  return { issuer, member };
}

describe('A member', () => {
  it('that is no issuer cannot invite, revoke or replace the authority', async () => {
    const mesh = make();
    const { member } = await pair(mesh);
    const refused = expect.objectContaining({ code: 'ERR_STARLANE_AUTHORITY' });
    await expect(member.invite({ name: 'x' })).rejects.toEqual(refused);
    await expect(member.revoke('first')).rejects.toEqual(refused);
    await expect(member.replaceAuthority(mesh.folder('next.key'))).rejects.toEqual(refused);
  });

  it('gets no newer certificate before half of the life of its own', async () => {
    const mesh = make();
    const { member } = await pair(mesh);
    await expect(internals(member).renew()).rejects.toMatchObject({
      code: 'ERR_STARLANE_ENROLMENT',
      message: expect.stringContaining('it has no newer certificate for this node'),
    });
  });

  it('lists what it knows of the others', async () => {
    const mesh = make();
    const { issuer, member } = await pair(mesh, { relay: false, offer: [] });
    const listed = issuer.members().find(({ id }) => id === member.id);
    expect(listed).toMatchObject({ name: 'web', tags: [], rights: { relay: false, offer: [], issue: false } });
    expect(listed?.since).toBeInstanceOf(Date);
  });
});

describe('An issuer', () => {
  it('revokes a member by its name, and has the revocation on its disk', async () => {
    const mesh = make();
    const { issuer, member } = await pair(mesh);
    const gone = once(member, 'unlink');
    expect(await issuer.revoke('web')).toMatchObject({ id: member.id, name: 'web' });
    const [, reason] = await gone;
    expect(reason).toMatchObject({ code: 'ERR_STARLANE_REVOKED' });
    expect(issuer.members().map(({ name }) => name)).toEqual(['first']);
    expect(readCredentials(mesh.folder('first')).statements).toHaveLength(1);
    await expect(issuer.revoke('web')).rejects.toMatchObject({ code: 'ERR_STARLANE_ARGUMENT' });
    await expect(issuer.revoke('first')).rejects.toThrow(/cannot revoke itself/);
  });

  it('needs the id where a name is not enough', async () => {
    const mesh = make();
    const issuer = await mesh.start('first');
    const token = await issuer.invite({ name: 'web', uses: 2 });
    const [one, two] = [
      await enrol(token, { credentials: mesh.folder('1') }),
      await enrol(token, { credentials: mesh.folder('2') }),
    ];
    const error = await issuer.revoke('web').catch((reason) => reason);
    expect(error.code).toBe('ERR_STARLANE_ARGUMENT');
    expect(error.message).toContain(one.id);
    expect(error.message).toContain(two.id);
    expect(await issuer.revoke(two.id)).toMatchObject({ id: two.id });
  });

  it('takes only options that it knows, and only what fits a certificate', async () => {
    const mesh = make();
    const issuer = await mesh.start('first');
    const codeOf = (options: object) =>
      issuer.invite(options as { name: string }).then(
        () => undefined,
        (error) => error.code,
      );
    for (const options of [
      {},
      { name: '' },
      { name: 'x', uses: 0 },
      { name: 'x', expiresInMs: 31 * 86_400_000 },
      { name: 'x', lifetimeMs: 398 * 86_400_000 },
      { name: 'x', rights: { admin: true } },
      { name: 'x', rights: { offer: 'web' } },
      { name: 'x', tags: 'blue' },
      { name: 'x', addresses: [] },
      { name: 'x', addresses: ['tcp://host:1'] },
      { name: 'x', colour: 'blue' },
    ]) {
      expect([options, await codeOf(options)]).toEqual([options, 'ERR_STARLANE_OPTION']);
    }
    const offer = Array.from({ length: 16 }, (_, index) => `${index}`.padEnd(250, 'x'));
    expect(await codeOf({ name: 'x', rights: { offer } })).toBe('ERR_STARLANE_ARGUMENT');
  });

  it('lets another authority take over: members get its certificates, and tokens of before still work', async () => {
    const mesh = make();
    const { issuer, member } = await pair(mesh);
    const before = await issuer.invite({ name: 'before' });
    const next = createAuthority(mesh.folder('next.key'));
    await issuer.replaceAuthority(mesh.folder('next.key'), { overlapMs: 3_600_000 });
    expect(readFileSync(`${mesh.folder('first')}/authority.key`)).toEqual(readFileSync(mesh.folder('next.key')));
    expect(existsSync(`${mesh.folder('first')}/authority.key.old`)).toBe(true);
    expect(networkIdOf(readCredentials(mesh.folder('first')).member.authority)).toBe(next.networkId);

    // The member hears of it, or asks by itself.
    await internals(member).renew();
    expect(networkIdOf(internals(member).own.authority)).toBe(next.networkId);
    const folder = readCredentials(mesh.folder('web'));
    expect(networkIdOf(folder.member.authority)).toBe(next.networkId);
    expect(folder.authorities).toHaveLength(2);

    expect(decodeToken(before).networkId).toBe(mesh.networkId);
    expect(await enrol(before, { credentials: mesh.folder('before') })).toMatchObject({ name: 'before' });
    // One that outlives the overlap names the new network.
    const late = await issuer.invite({ name: 'late', expiresInMs: 2 * 3_600_000 });
    expect(decodeToken(late).networkId).toBe(next.networkId);
    expect(await enrol(late, { credentials: mesh.folder('late') })).toMatchObject({ name: 'late' });
    const restarted = await mesh.start('late');
    while (restarted.links().length === 0) await once(restarted, 'link');
  });

  it('refuses the key of another network', async () => {
    const mesh = make();
    createAuthority(mesh.folder('other.key'));
    copyFileSync(mesh.folder('other.key'), mesh.folder('first/authority.key'));
    await expect(mesh.start('first')).rejects.toMatchObject({
      code: 'ERR_STARLANE_AUTHORITY',
      message: expect.stringContaining('this node is a member of'),
    });
  });
});
