// Certificates for web servers: each for one host, each its own authority.

import { generate } from 'selfsigned';

export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

const DAY_MS = 24 * 60 * 60 * 1000;
const made = new Map<string, Promise<Certificate>>();

async function make(host: string): Promise<Certificate> {
  const { cert, private: key } = await generate([{ name: 'commonName', value: host }], {
    keyType: 'ec',
    algorithm: 'sha256',
    notBeforeDate: new Date(Date.now() - DAY_MS),
    notAfterDate: new Date(Date.now() + DAY_MS),
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: host }] }],
  });
  return { cert, key };
}

/** Made once for each host. */
export function certificateFor(host: string): Promise<Certificate> {
  let certificate = made.get(host);
  if (certificate === undefined) {
    certificate = make(host);
    made.set(host, certificate);
  }
  return certificate;
}
