// Sends the files of the page, as they are compressed already, and answers a browser that has them with 304.

import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { nodeZlib } from '../../util/runtime/builtins.js';
import type { PageFile } from './page-files.js';

export interface Site {
  send(name: string, request: IncomingMessage, response: ServerResponse): void;
}

interface Ready {
  readonly type: string;
  readonly gzip: Buffer;
  readonly etag: string;
}

export class SiteFiles implements Site {
  private readonly ready = new Map<string, Ready>();

  constructor(private readonly files: Readonly<Record<string, PageFile>>) {}

  send(name: string, request: IncomingMessage, response: ServerResponse): void {
    const { type, gzip, etag } = this.prepare(name);
    response.setHeader('Content-Type', type);
    response.setHeader('Cache-Control', 'no-cache');
    response.setHeader('ETag', etag);
    response.setHeader('Vary', 'Accept-Encoding');
    if (request.headers['if-none-match'] === etag) {
      response.writeHead(304).end();
      return;
    }
    const takesGzip = /\bgzip\b/.test(String(request.headers['accept-encoding'] ?? ''));
    const body = takesGzip ? gzip : nodeZlib().gunzipSync(gzip);
    if (takesGzip) response.setHeader('Content-Encoding', 'gzip');
    response.setHeader('Content-Length', body.length);
    response.writeHead(200).end(request.method === 'HEAD' ? undefined : body);
  }

  private prepare(name: string): Ready {
    let ready = this.ready.get(name);
    if (ready === undefined) {
      const { type, gzip: text } = this.files[name];
      const gzip = Buffer.from(text, 'base64');
      ready = { type, gzip, etag: `"${createHash('sha256').update(gzip).digest('base64url').slice(0, 22)}"` };
      this.ready.set(name, ready);
    }
    return ready;
  }
}
