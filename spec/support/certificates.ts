// Certificates for specs: one authority, which is also the certificate of every node, and a stranger.

import { generate } from 'selfsigned';
import type { TlsFiles } from '../../lib/index.js';

const DAY_MS = 24 * 60 * 60 * 1000;

async function selfSigned(name: string): Promise<TlsFiles> {
  const made = await generate([{ name: 'commonName', value: name }], {
    keyType: 'ec',
    algorithm: 'sha256',
    notBeforeDate: new Date(Date.now() - DAY_MS),
    notAfterDate: new Date(Date.now() + DAY_MS),
    extensions: [
      {
        name: 'subjectAltName',
        altNames: [
          { type: 2, value: 'localhost' },
          { type: 7, ip: '127.0.0.1' },
        ],
      },
    ],
  });
  return { cert: made.cert, key: made.private, ca: made.cert };
}

let members: Promise<TlsFiles> | undefined;
let strangers: Promise<TlsFiles> | undefined;

/** What the nodes of a spec share. Made once. */
export function memberTls(): Promise<TlsFiles> {
  members ??= selfSigned('member');
  return members;
}

/** A certificate that no member trusts, of one who trusts nobody but himself. */
export function strangerTls(): Promise<TlsFiles> {
  strangers ??= selfSigned('stranger');
  return strangers;
}
