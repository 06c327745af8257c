// The invitations of an issuer: a folder that decides which key a code goes to, across crashes, restarts and processes.
//
//   <hash>.json        what a token grants; <hash> follows from the code id, which only requests carry
//   <hash>.1, .2 ...   one for each use, with the key that took it
//   temp-<time>-<random>   a file that is being written
//
// A file is written under a temporary name, synced, and given its own name by link(2), which fails when the name is taken: so it is there
// as a whole or not at all, and of two that want it exactly one gets it. The answer goes out after the folder is synced as well. Uses
// are taken in order and stay as long as the invitation, so the same key always finds its own again.

import { createHash, randomBytes } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import * as nodeFiles from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, type StarlaneError, starlaneError } from '../../errors.js';
import type { MemberRights } from '../../identity/member-certificate.js';
import { hidden } from '../../wire/token.js';

/** Open invitations: each is a file, and a look at all of them must not take long. */
export const MAX_INVITATIONS = 10_000;
export const MAX_USES = 1_000;
/** A joiner that took its use at the last moment may still fetch its certificate for so long. */
export const GRACE_MS = 10 * 60_000;
/** A temporary file that is older was left behind by a crash. */
const TEMPORARY_MS = 60 * 60_000;

const HASH_BYTES = 16;
const VERSION = 1;
/** More than any invitation needs. */
const MAX_FILE_BYTES = 16 * 1024;

/** What a token grants. */
export interface Grant {
  /** Of the member; an asterisk stands for what the joiner chooses. */
  readonly name: string;
  readonly tags: readonly string[];
  readonly rights: MemberRights;
  readonly lifetimeMs: number;
}

export interface Invitation extends Grant {
  /** Keys the macs of requests. */
  readonly key: Buffer;
  readonly uses: number;
  readonly expiresAtMs: number;
}

export type Redemption =
  /** `isRepeat`: the key has had it before. */
  | { readonly kind: 'granted'; readonly grant: Grant; readonly isRepeat: boolean }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'used' }
  | { readonly kind: 'expired' };

/** The part of node:fs/promises that is used; replaced in specs. */
export type Files = Pick<typeof nodeFiles, 'link' | 'mkdir' | 'readdir' | 'readFile' | 'unlink'> & {
  open(path: string, flags: string, mode?: number): Promise<Pick<FileHandle, 'close' | 'sync' | 'writeFile'>>;
};

export class Invitations {
  constructor(
    private readonly folder: string,
    private readonly files: Files = nodeFiles,
  ) {}

  /** Adds an invitation, and resolves when it is durable. @throws ERR_STARLANE_ENROLMENT when there are too many */
  async add(codeId: Uint8Array, invitation: Invitation, nowMs: number): Promise<void> {
    await this.files.mkdir(this.folder, { recursive: true, mode: 0o700 });
    if ((await this.count()) >= MAX_INVITATIONS) {
      await this.sweep(nowMs);
      if ((await this.count()) >= MAX_INVITATIONS) {
        throw starlaneError('ERR_STARLANE_ENROLMENT', `${MAX_INVITATIONS} invitations are open, which is the limit`);
      }
    }
    const { key, name, tags, rights, lifetimeMs, uses, expiresAtMs } = invitation;
    const content = {
      version: VERSION,
      key: key.toString('base64url'),
      name,
      tags,
      rights,
      lifetimeMs,
      uses,
      expiresAtMs,
    };
    await this.create(`${hashOf(codeId)}.json`, `${JSON.stringify(content, null, 2)}\n`, nowMs);
  }

  /**
   * Takes a use for the key of a joiner, and resolves when that is durable. The same key gets its use again.
   * @param fits returns whether the request was made with the code; it may throw when something else is wrong with it
   */
  async redeem(
    codeId: Uint8Array,
    publicKey: Uint8Array,
    nowMs: number,
    fits: (invitation: Invitation) => boolean,
  ): Promise<Redemption> {
    const hash = hashOf(codeId);
    const invitation = await this.read(hash);
    if (invitation === undefined || !fits(invitation)) return { kind: 'unknown' };
    const { uses, expiresAtMs, name, tags, rights, lifetimeMs } = invitation;
    const grant: Grant = { name, tags, rights, lifetimeMs };
    const isExpired = nowMs > expiresAtMs;
    if (nowMs > expiresAtMs + GRACE_MS) return { kind: 'expired' };
    const own = `${Buffer.from(publicKey).toString('base64url')}\n`;
    // A power cut can lose an earlier use and keep this one: a key must not take a second place.
    for (const file of await this.list()) {
      if (!file.startsWith(`${hash}.`) || (await this.text(file)) !== own) continue;
      // The process that has written it may not have synced the folder yet.
      await this.syncFolder();
      return { kind: 'granted', grant, isRepeat: true };
    }
    for (let use = 1; use <= uses; use++) {
      const file = `${hash}.${use}`;
      let owner = await this.text(file);
      if (owner === undefined) {
        if (isExpired) return { kind: 'expired' };
        if (await this.create(file, own, nowMs)) {
          // Swept meanwhile, as the clock was set: without the invitation this use would not keep another key from the code.
          return (await this.read(hash)) === undefined
            ? { kind: 'expired' }
            : { kind: 'granted', grant, isRepeat: false };
        }
        owner = await this.text(file);
      }
      // Another process has taken it meanwhile.
      if (owner === own) {
        await this.syncFolder();
        return { kind: 'granted', grant, isRepeat: true };
      }
    }
    return isExpired ? { kind: 'expired' } : { kind: 'used' };
  }

  /** Removes what has expired, and what crashes have left. */
  async sweep(nowMs: number): Promise<void> {
    const names = await this.list();
    for (const name of names) {
      const [hash, kind] = name.split('.');
      if (kind !== 'json') continue;
      const invitation = await this.read(hash).catch(() => undefined);
      if (invitation !== undefined && nowMs > invitation.expiresAtMs + GRACE_MS) await this.remove(name);
    }
    // Without the invitation its uses mean nothing; the other way round, a code could be used again.
    await this.syncFolder();
    const left = new Set(await this.list());
    for (const name of left) {
      const [hash, use] = name.split('.');
      const isOrphan = use !== undefined && use !== 'json' && !left.has(`${hash}.json`);
      if (isOrphan && (await this.text(`${hash}.json`)) === undefined) await this.remove(name);
      const madeAtMs = Number(/^temp-(\d+)-/.exec(name)?.[1] ?? Number.NaN);
      if (nowMs - madeAtMs > TEMPORARY_MS) await this.remove(name);
    }
  }

  /** @throws ERR_STARLANE_CREDENTIALS when the file is damaged */
  private async read(hash: string): Promise<Invitation | undefined> {
    const text = await this.text(`${hash}.json`);
    if (text === undefined) return undefined;
    try {
      return parse(text);
    } catch (error) {
      throw damaged(join(this.folder, `${hash}.json`), error);
    }
  }

  private async count(): Promise<number> {
    return (await this.list()).filter((name) => name.endsWith('.json')).length;
  }

  private async list(): Promise<string[]> {
    try {
      return await this.files.readdir(this.folder);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return [];
      throw error;
    }
  }

  private async text(name: string): Promise<string | undefined> {
    try {
      return await this.files.readFile(join(this.folder, name), 'utf8');
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Makes a file, whole and durable. Returns false when there is one of that name. */
  private async create(name: string, text: string, nowMs: number): Promise<boolean> {
    const temporary = `temp-${Math.round(nowMs)}-${randomBytes(8).toString('hex')}`;
    const path = join(this.folder, temporary);
    const file = await this.files.open(path, 'wx', 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    try {
      await this.files.link(path, join(this.folder, name));
    } catch (error) {
      if (codeOf(error) === 'EEXIST') return false;
      throw error;
    } finally {
      await this.remove(temporary);
    }
    await this.syncFolder();
    return true;
  }

  private async remove(name: string): Promise<void> {
    try {
      await this.files.unlink(join(this.folder, name));
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
    }
  }

  private async syncFolder(): Promise<void> {
    // Windows cannot open a folder, and writes such changes in order.
    if (process.platform === 'win32') return;
    let folder: Pick<FileHandle, 'close' | 'sync'>;
    try {
      folder = await this.files.open(this.folder, 'r');
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return;
      throw error;
    }
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }
}

/** Hexadecimal, as some file systems do not distinguish upper and lower case. */
function hashOf(codeId: Uint8Array): string {
  return createHash('sha256').update(codeId).digest().subarray(0, HASH_BYTES).toString('hex');
}

/** @throws when it is not what {@link Invitations.add} writes */
function parse(text: string): Invitation {
  if (text.length > MAX_FILE_BYTES) throw new Error('it is too long');
  const { version, key, name, tags, rights, lifetimeMs, uses, expiresAtMs } = JSON.parse(text);
  if (version !== VERSION) throw new Error(`version ${version}`);
  const isWhole =
    typeof key === 'string' &&
    typeof name === 'string' &&
    Array.isArray(tags) &&
    typeof rights === 'object' &&
    Array.isArray(rights.offer) &&
    [lifetimeMs, uses, expiresAtMs].every(Number.isSafeInteger);
  if (!isWhole) throw new Error('a field is missing');
  const { relay, offer, issue } = rights;
  return {
    key: hidden(Buffer.from(key, 'base64url')),
    name,
    tags,
    rights: { relay: relay === true, offer, issue: issue === true },
    lifetimeMs,
    uses,
    expiresAtMs,
  };
}

function damaged(path: string, cause: unknown): StarlaneError {
  return starlaneError('ERR_STARLANE_CREDENTIALS', `${path} is damaged`, cause);
}
