// Certificates whose subjects are service names, for TLS inside of sockets.

import { generate } from 'selfsigned';

const DAY_MS = 24 * 60 * 60 * 1000;

export interface ServiceCertificate {
  readonly cert: string;
  readonly key: string;
}

const made = new Map<string, Promise<ServiceCertificate>>();

async function make(service: string): Promise<ServiceCertificate> {
  const { cert, private: key } = await generate([{ name: 'commonName', value: service }], {
    keyType: 'ec',
    algorithm: 'sha256',
    notBeforeDate: new Date(Date.now() - DAY_MS),
    notAfterDate: new Date(Date.now() + DAY_MS),
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: service }] }],
  });
  return { cert, key };
}

/** Its own authority. Made once for each service. */
export function serviceCertificate(service: string): Promise<ServiceCertificate> {
  const certificate = made.get(service) ?? make(service);
  made.set(service, certificate);
  return certificate;
}
