// Certificates for specs, made once for each name. Every one is its own authority.

import { generate } from 'selfsigned';
import type { TlsFiles } from '../../lib/index.js';

const DAY_MS = 24 * 60 * 60 * 1000;

export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

type AltName = { type: 2; value: string } | { type: 7; ip: string };

const made = new Map<string, Promise<Certificate>>();

async function make(name: string, altNames: AltName[]): Promise<Certificate> {
  const { cert, private: key } = await generate([{ name: 'commonName', value: name }], {
    keyType: 'ec',
    algorithm: 'sha256',
    notBeforeDate: new Date(Date.now() - DAY_MS),
    notAfterDate: new Date(Date.now() + DAY_MS),
    extensions: [{ name: 'subjectAltName', altNames }],
  });
  return { cert, key };
}

/** For a host of this name, or a service under it. */
export function certificateFor(name: string, altNames: AltName[] = [{ type: 2, value: name }]): Promise<Certificate> {
  let certificate = made.get(name);
  if (certificate === undefined) {
    certificate = make(name, altNames);
    made.set(name, certificate);
  }
  return certificate;
}

async function selfSigned(name: string): Promise<TlsFiles> {
  const { cert, key } = await certificateFor(name, [
    { type: 2, value: 'localhost' },
    { type: 7, ip: '127.0.0.1' },
  ]);
  return { cert, key, ca: cert };
}

/** The certificates that the nodes of a spec share. */
export function memberTls(): Promise<TlsFiles> {
  return selfSigned('member');
}

/** A certificate that no member trusts, and whose owner trusts only itself. */
export function strangerTls(): Promise<TlsFiles> {
  return selfSigned('stranger');
}
