// Joining by a token, in one process: nodes with real folders and links, and joiners over real tls.

import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { readCredentials } from '../../../lib/identity/credentials.js';
import { createNetwork, enrol } from '../../../lib/members/index.js';
import { decodeToken, encodeToken } from '../../../lib/wire/token.js';
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

async function refusal(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt;
  } catch (error) {
    return `${(error as { code?: string }).code} ${(error as Error).message}`;
  }
  throw new Error('it was not refused');
}

describe('A machine with a token', () => {
  it('becomes a member, with the name, tags and rights of the invitation', async () => {
    const mesh = make();
    const issuer = await mesh.start('first');
    const token = await issuer.invite({ name: 'web', tags: ['blue'], rights: { relay: false, offer: ['web*'] } });
    const member = await enrol(token, { credentials: mesh.folder('web') });
    expect(member).toMatchObject({
      name: 'web',
      tags: ['blue'],
      rights: { relay: false, offer: ['web*'], issue: false },
    });
    expect(Math.round((member.until.getTime() - member.since.getTime()) / 86_400_000)).toBe(30);
    expect(statSync(mesh.folder('web')).mode & 0o777).toBe(0o700);
    expect(readdirSync(mesh.root).sort()).toEqual(['first', 'web']);
    const node = await mesh.start('web');
    expect(node.id).toBe(member.id);
    const names = () => issuer.members().map(({ name, reachable }) => `${name} ${reachable}`);
    while (!names().includes('web true')) await once(issuer.routesMap(), 'add');
    expect(names().sort()).toEqual(['first true', 'web true']);
  });

  it('may call again with the same folder, and gets the same certificate', async () => {
    const mesh = make();
    const issuer = await mesh.start('first');
    const token = await issuer.invite({ name: 'web' });
    const controller = new AbortController();
    const first = enrol(token, { credentials: mesh.folder('web'), signal: controller.signal });
    controller.abort(new Error('stop'));
    await expect(first).rejects.toThrow('stop');
    expect(readdirSync(mesh.root).sort()).toEqual(['first', 'web.enrolling']);
    const member = await enrol(token, { credentials: mesh.folder('web') });
    expect(readCredentials(mesh.folder('web')).member.nodeId).toBe(member.id);
  });

  it('reaches the issuer through another member, whose address it has', async () => {
    const mesh = make();
    const issuer = await mesh.start('first');
    await enrol(await issuer.invite({ name: 'relay' }), { credentials: mesh.folder('relay') });
    const relay = await mesh.start('relay');
    while (relay.links().length === 0) await once(relay, 'link');
    const address = mesh.addressOf(relay);
    const token = await issuer.invite({ name: 'web', addresses: [address] });
    expect(await enrol(token, { credentials: mesh.folder('web') })).toMatchObject({ name: 'web' });
    const used = await refusal(enrol(token, { credentials: mesh.folder('other') }));
    expect(used).toBe(
      'ERR_STARLANE_TOKEN_USED the token has been used: another machine has joined with it; ask for a new one',
    );
    expect(await mesh.warning(relay, 'ERR_STARLANE_TOKEN_USED')).toMatch(/asked by tls:/);
    expect(await mesh.warning(issuer, 'ERR_STARLANE_TOKEN_USED')).toContain(`asked by ${relay.id}`);
  });

  it('chooses what stands for the asterisk in the name', async () => {
    const mesh = make();
    const issuer = await mesh.start('first');
    const token = await issuer.invite({ name: 'web-*', uses: 3 });
    const enrolAs = (name?: string, folder = String(name)) => enrol(token, { credentials: mesh.folder(folder), name });
    expect(await enrolAs('web-blue')).toMatchObject({ name: 'web-blue' });
    expect(await refusal(enrolAs('db-1'))).toBe(
      'ERR_STARLANE_MEMBER_NAME the token is for a member of another name: the token is for names like "web-*" only',
    );
    // The refused name has taken no use.
    const unnamed = await enrolAs(undefined, 'unnamed');
    expect(unnamed.name).toBe(`web-${unnamed.id}`);
    expect(await enrolAs('web-red', 'db-1')).toMatchObject({ name: 'web-red' });
  });
});

describe('A token that cannot be used', () => {
  it('that was used says so at both ends', async () => {
    const mesh = make();
    const issuer = await mesh.start('first');
    const token = await issuer.invite({ name: 'web' });
    await enrol(token, { credentials: mesh.folder('web') });
    const text = 'the token has been used: another machine has joined with it; ask for a new one';
    expect(await refusal(enrol(token, { credentials: mesh.folder('late') }))).toBe(`ERR_STARLANE_TOKEN_USED ${text}`);
    expect(await mesh.warning(issuer, 'ERR_STARLANE_TOKEN_USED')).toMatch(
      new RegExp(`^${text} \\(asked by tls://127\\.0\\.0\\.1:\\d+\\)$`),
    );
  });

  it('that has expired says so at both ends', async () => {
    const mesh = make();
    const issuer = await mesh.start('first');
    const token = decodeToken(await issuer.invite({ name: 'web' }));
    // As if it had been made long ago, and been removed since.
    const old = encodeToken({ ...token, code: Buffer.alloc(16, 1), expiresAtMs: Date.now() - 3_600_000 });
    expect(await refusal(enrol(old, { credentials: mesh.folder('late') }))).toBe(
      'ERR_STARLANE_TOKEN_EXPIRED the token has expired: 1 hour ago; ask for a new one',
    );
    expect(await mesh.warning(issuer, 'ERR_STARLANE_TOKEN_EXPIRED')).toMatch(/expired: 1 hour ago.*asked by/);
  });

  it('that nobody has made says so at both ends, and soon it is too many', async () => {
    const mesh = make();
    const issuer = await mesh.start('first');
    const token = decodeToken(await issuer.invite({ name: 'web' }));
    const guess = (code: number) =>
      refusal(enrol(encodeToken({ ...token, code: Buffer.alloc(16, code) }), { credentials: mesh.folder('guess') }));
    const first = await guess(0);
    expect(first).toBe(`ERR_STARLANE_TOKEN the token is not valid: the issuer ${issuer.id} does not know it`);
    expect(await mesh.warning(issuer, 'ERR_STARLANE_TOKEN')).toMatch(/does not know it \(asked by/);
    for (let code = 1; code < 10; code++) expect(await guess(code)).toBe(first);
    expect(await guess(10)).toMatch(
      /^ERR_STARLANE_ENROLMENT .* tls:.*: too many wrong tokens; try again in \d+ seconds$/,
    );
    expect(await mesh.warning(issuer, 'ERR_STARLANE_ENROLMENT')).toMatch(/too many wrong tokens/);
  });

  it('that is for another network is not shown to the nodes of this one', async () => {
    const mesh = make();
    const issuer = await mesh.start('first');
    const other = createNetwork(mesh.folder('other'), { name: 'other' });
    const token = decodeToken(await issuer.invite({ name: 'web' }));
    const foreign = encodeToken({ ...token, networkId: other.networkId });
    const [address] = token.addresses;
    expect(await refusal(enrol(foreign, { credentials: mesh.folder('web') }))).toBe(
      `ERR_STARLANE_WRONG_NETWORK the token is for another network: ${address} belongs to another one than ${other.networkId}`,
    );
    expect(await mesh.warning(issuer, 'ERR_STARLANE_WRONG_NETWORK')).toMatch(
      /^the token is for another network: the machine at tls:\S+ says: it has a token for the network /,
    );
    // Nothing was asked, so nothing was taken.
    expect(await enrol(encodeToken(token), { credentials: mesh.folder('web') })).toMatchObject({ name: 'web' });
  });

  it('that leads nowhere says where it was tried', async () => {
    const mesh = make();
    const issuer = await mesh.start('first');
    const gone = createServer().listen(0, '127.0.0.1');
    await once(gone, 'listening');
    const { port } = gone.address() as AddressInfo;
    gone.close();
    await once(gone, 'close');
    const token = await issuer.invite({ name: 'web', addresses: [`tls://127.0.0.1:${port}`] });
    expect(await refusal(enrol(token, { credentials: mesh.folder('web') }))).toBe(
      `ERR_STARLANE_ENROLMENT no certificate was issued: tls://127.0.0.1:${port}: nothing listens there`,
    );
  });

  it('whose issuer is down says so at both ends', async () => {
    const mesh = make();
    const issuer = await mesh.start('first');
    await enrol(await issuer.invite({ name: 'relay' }), { credentials: mesh.folder('relay') });
    const relay = await mesh.start('relay');
    while (relay.links().length === 0) await once(relay, 'link');
    const address = mesh.addressOf(relay);
    const token = await issuer.invite({ name: 'web', addresses: [address] });
    const down = once(relay, 'unlink');
    await issuer.close();
    await down;
    const text = `the issuer ${issuer.id} of the token cannot be reached from ${relay.id}`;
    expect(await refusal(enrol(token, { credentials: mesh.folder('web') }))).toContain(`${address}: ${text}`);
    expect(await mesh.warning(relay, 'ERR_STARLANE_ENROLMENT')).toContain(text);
  });

  it('of a key that was revoked says so at both ends', async () => {
    const mesh = make();
    const issuer = await mesh.start('first');
    const token = await issuer.invite({ name: 'web', uses: 2 });
    const controller = new AbortController();
    // The key is made, and nothing is sent.
    const aborted = enrol(token, { credentials: mesh.folder('web'), signal: controller.signal });
    controller.abort(new Error('stop'));
    await expect(aborted).rejects.toThrow('stop');
    cpSync(`${mesh.folder('web')}.enrolling`, `${mesh.folder('again')}.enrolling`);
    const member = await enrol(token, { credentials: mesh.folder('web') });
    await issuer.revoke(member.id);
    const text = `the membership of a node was revoked: ${member.id}`;
    expect(await refusal(enrol(token, { credentials: mesh.folder('again') }))).toBe(`ERR_STARLANE_REVOKED ${text}`);
    expect(await mesh.warning(issuer, 'ERR_STARLANE_REVOKED')).toContain(text);
  });
});

describe('A folder', () => {
  it('that is there already is not touched', async () => {
    const mesh = make();
    const issuer = await mesh.start('first');
    const token = await issuer.invite({ name: 'web' });
    mkdirSync(mesh.folder('web'));
    writeFileSync(`${mesh.folder('web')}/notes`, 'mine');
    expect(await refusal(enrol(token, { credentials: mesh.folder('web') }))).toBe(
      `ERR_STARLANE_CREDENTIALS the folder of credentials cannot be used: ${mesh.folder('web')}: it is there already, and is not overwritten`,
    );
    expect(readdirSync(mesh.folder('web'))).toEqual(['notes']);
    expect(existsSync(`${mesh.folder('web')}.enrolling`)).toBe(false);
    expect(() => createNetwork(mesh.folder('web'), { name: 'x' })).toThrow(/is not overwritten/);
  });
});
