// Certificates by ACME (RFC 8555), with the package acme-client: orders one when there is none, or when the one there ends soon. The authority
// asks for a token by HTTP at port 80, which a plain listener of the gateway answers (http-01).

import { X509Certificate } from 'node:crypto';
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, optionError, starlaneError } from '../../../errors.js';
import { clearTimeout, dateNow, setTimeout } from '../../../util/runtime/real-timers.js';
import type { GatewayAcme, GatewayCertificate } from '../options.js';

/** Optional, so it is found where the program has installed it, and bundled nowhere. */
const PACKAGE: string = 'acme-client';

const CHECK_MS = 6 * 60 * 60 * 1_000;
/** After a failure: authorities limit orders. */
const RETRY_MS = 15 * 60 * 1_000;
/** A certificate is renewed in the last third of its life. */
const RENEW_SHARE = 1 / 3;
const CHALLENGE = '/.well-known/acme-challenge/';

export class Acme {
  readonly files: GatewayCertificate;
  private readonly tokens = new Map<string, string>();
  private timer: NodeJS.Timeout | undefined;
  private isClosed = false;

  constructor(
    private readonly options: GatewayAcme,
    private readonly onCertificate: () => Promise<void>,
    private readonly onWarning: (error: Error) => void,
  ) {
    const { folder } = options;
    this.files = { cert: join(folder, 'certificate.pem'), key: join(folder, 'key.pem') };
  }

  /** Makes the folder, and checks that the package is there. @throws ERR_STARLANE_OPTION */
  async prepare(): Promise<void> {
    const { folder } = this.options;
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await chmod(folder, 0o700);
    } catch (error) {
      throw optionError('acme.folder', `${folder} cannot be used: ${(error as Error).message}`, error);
    }
    try {
      await import(PACKAGE);
    } catch (error) {
      throw optionError('acme', 'needs the package acme-client: npm install acme-client', error);
    }
  }

  /** Returns whether there is a certificate. */
  async hasCertificate(): Promise<boolean> {
    return (await readIfThere(this.files.cert)) !== undefined && (await readIfThere(this.files.key)) !== undefined;
  }

  /** Orders and renews from now on. */
  start(): void {
    void this.check();
  }

  close(): void {
    this.isClosed = true;
    clearTimeout(this.timer);
  }

  /** Returns the answer for a path that the authority asks for; undefined for all other paths. */
  answerTo(path: string): string | undefined {
    return path.startsWith(CHALLENGE) ? this.tokens.get(path.slice(CHALLENGE.length)) : undefined;
  }

  private async check(): Promise<void> {
    let waitMs = CHECK_MS;
    try {
      if (await this.isDue()) {
        await this.order();
        await this.onCertificate();
      }
    } catch (error) {
      waitMs = RETRY_MS;
      const { message } = error as Error;
      if (!this.isClosed) this.onWarning(starlaneError('ERR_STARLANE_CERTIFICATE', `by ACME: ${message}`, error));
    }
    if (!this.isClosed) this.timer = setTimeout(() => void this.check(), waitMs).unref();
  }

  private async isDue(): Promise<boolean> {
    const pem = await readIfThere(this.files.cert);
    if (pem === undefined || !(await this.hasCertificate())) return true;
    const { validFrom, validTo, subjectAltName = '' } = new X509Certificate(pem);
    const names = new Set([...subjectAltName.matchAll(/DNS:([^,\s"]+)/g)].map(([, name]) => name.toLowerCase()));
    if (!this.options.names.every((name) => names.has(name))) return true;
    const from = Date.parse(validFrom);
    const to = Date.parse(validTo);
    return dateNow() > to - (to - from) * RENEW_SHARE;
  }

  private async order(): Promise<void> {
    const { names, directory, email } = this.options;
    const acme = (await import(PACKAGE)) as typeof import('acme-client');
    const accountKey = await this.accountKey(acme);
    const client = new acme.Client({ directoryUrl: directory ?? acme.directory.letsencrypt.production, accountKey });
    const [key, csr] = await acme.crypto.createCsr({ commonName: names[0], altNames: [...names] });
    const certificate = await client.auto({
      csr,
      email,
      termsOfServiceAgreed: true,
      challengePriority: ['http-01'],
      // It would ask this gateway by the public name, which often does not work from inside.
      skipChallengeVerification: true,
      challengeCreateFn: async (_authorization, challenge, keyAuthorization) => {
        this.tokens.set(challenge.token, keyAuthorization);
      },
      challengeRemoveFn: async (_authorization, challenge) => {
        this.tokens.delete(challenge.token);
      },
    });
    if (this.isClosed) return;
    await replace(this.files.key, key);
    await replace(this.files.cert, certificate);
  }

  private async accountKey(acme: typeof import('acme-client')): Promise<Buffer> {
    const path = join(this.options.folder, 'account.pem');
    const there = await readIfThere(path);
    if (there !== undefined) return there;
    const key = await acme.crypto.createPrivateKey();
    await replace(path, key);
    return key;
  }
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function replace(path: string, content: Buffer | string): Promise<void> {
  await writeFile(`${path}.new`, content, { mode: 0o600 });
  await rename(`${path}.new`, path);
}
