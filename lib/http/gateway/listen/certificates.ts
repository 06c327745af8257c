// Certificates from files, by the names that they are for. They are read again when a file changes; connections stay.

import { X509Certificate } from 'node:crypto';
import { type FSWatcher, watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import { optionError } from '../../../errors.js';
import { clearTimeout, setTimeout } from '../../../util/runtime/real-timers.js';
import type { GatewayCertificate, GatewayTls } from '../options.js';

/** A tool that renews certificates writes two files, one after the other. */
const SETTLE_MS = 200;

interface Loaded {
  readonly context: SecureContext;
  readonly options: SecureContextOptions;
  /** In lower case; a wildcard begins with `*.`. */
  readonly names: readonly string[];
}

export class Certificates {
  private loaded: readonly Loaded[] = [];
  private readonly watchers: FSWatcher[] = [];
  private settling: NodeJS.Timeout | undefined;

  constructor(
    private readonly files: readonly GatewayCertificate[],
    private readonly tls: GatewayTls | undefined,
    private readonly onChange: () => void,
    private readonly onWarning: (error: Error) => void,
  ) {}

  /** The options of the first certificate, for clients that ask for no name or for another one; undefined without any. */
  get first(): SecureContextOptions | undefined {
    return this.loaded[0]?.options;
  }

  /** Returns what to use for a name that a client asks for. */
  contextFor(servername: string): SecureContext | undefined {
    const name = servername.toLowerCase();
    const wildcard = name.replace(/^[^.]+/, '*');
    const found =
      this.loaded.find(({ names }) => names.includes(name)) ??
      this.loaded.find(({ names }) => names.includes(wildcard)) ??
      this.loaded[0];
    return found?.context;
  }

  /** Reads all files. Nothing changes if one of them cannot be used. @throws ERR_STARLANE_OPTION */
  async load(): Promise<void> {
    const { clientCa, minVersion = 'TLSv1.2' } = this.tls ?? {};
    const ca = clientCa === undefined ? undefined : await read('tls.clientCa', clientCa);
    const loaded: Loaded[] = [];
    for (const { cert, key } of this.files) {
      const options: SecureContextOptions = {
        cert: await read('tls.certificates', cert),
        key: await read('tls.certificates', key),
        ca,
        minVersion,
      };
      try {
        loaded.push({ context: createSecureContext(options), options, names: namesOf(options.cert as Buffer) });
      } catch (error) {
        throw optionError('tls.certificates', `${cert} and ${key} cannot be used: ${(error as Error).message}`, error);
      }
    }
    this.loaded = loaded;
  }

  /** Reads the files again whenever something changes in their folders, as tools replace files by new ones. */
  watch(): void {
    const { clientCa } = this.tls ?? {};
    const paths = this.files.flatMap(({ cert, key }) => [cert, key]);
    if (clientCa !== undefined) paths.push(clientCa);
    for (const folder of new Set(paths.map((path) => dirname(path)))) {
      try {
        const watcher = watch(folder, { persistent: false }, () => this.onTouch());
        watcher.on('error', this.onWarning);
        this.watchers.push(watcher);
      } catch (error) {
        this.onWarning(error as Error);
      }
    }
  }

  close(): void {
    clearTimeout(this.settling);
    for (const watcher of this.watchers) watcher.close();
  }

  private onTouch(): void {
    clearTimeout(this.settling);
    this.settling = setTimeout(() => {
      this.load().then(this.onChange, this.onWarning);
    }, SETTLE_MS).unref();
  }
}

async function read(option: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw optionError(option, `${path} cannot be read: ${(error as Error).message}`, error);
  }
}

/** Returns the names that a certificate is for. */
function namesOf(pem: Buffer): string[] {
  const { subjectAltName = '' } = new X509Certificate(pem);
  return [...subjectAltName.matchAll(/DNS:([^,\s"]+)/g)].map(([, name]) => name.toLowerCase());
}
