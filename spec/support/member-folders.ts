// Folders of credentials for nodes of specs.

import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Authority, IssueRequest } from '../../lib/identity/authority.js';
import { writeCredentials } from '../../lib/identity/credentials.js';
import { createIdentity, type OwnIdentity } from '../../lib/identity/identity.js';
import { newMember } from './members.js';

interface FolderContent {
  readonly request?: Partial<IssueRequest>;
  readonly identity?: OwnIdentity;
  /** When it was issued. */
  readonly nowMs?: number;
  /** Those that hold, the newest last. Default: that which issues. */
  readonly authorities?: readonly Authority[];
  readonly statements?: readonly Uint8Array[];
  readonly seeds?: readonly string[];
}

/** A member with its folder. */
export interface MemberFolder {
  readonly folder: string;
  readonly identity: OwnIdentity;
  /** In DER. */
  readonly certificate: Buffer;
}

/** Makes a folder of credentials that `authority` has issued. */
export function memberFolder(authority: Authority, content: FolderContent = {}): MemberFolder {
  const {
    request,
    identity = createIdentity(),
    nowMs,
    authorities = [authority],
    statements = [],
    seeds = [],
  } = content;
  const { certificate } = newMember(authority, request, nowMs, identity);
  const folder = join(mkdtempSync(join(tmpdir(), 'starlane-')), 'credentials');
  writeCredentials(folder, {
    key: identity.privateKey,
    certificate,
    authorities: authorities.map((one) => one.certificate),
    seeds,
    statements,
  });
  return { folder, identity, certificate };
}
