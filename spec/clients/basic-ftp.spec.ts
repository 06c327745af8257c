// basic-ftp against a real vsftpd: with sockets of `node.net`, control and data, and unchanged under the preload.

import { createHash, randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { Readable, Writable } from 'node:stream';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Client } from 'basic-ftp';
import type { Node } from '../../lib/index.js';
import { certificateFor } from '../support/certificates.js';
import { within } from '../support/deadline.js';
import { linkedNodes } from './linked-nodes.js';
import { publish } from './publish.js';
import { SCRIPT_SPEC_MS, scriptNetwork, WAYS } from './script-network.js';
import { describeWithPrograms } from './server-program.js';
import { startVsftpd, VSFTPD, type VsftpdServer } from './vsftpd-server.js';

const MIB = 1024 * 1024;

/** The context of a client makes all of its sockets with this function; there is no option for it. */
interface SocketMaker {
  _newSocket(): Socket;
}

/** The port of the control connection, and that of the data connections, as the server names it in its answers. */
function publishFtp(node: Node, { host, port, dataPort }: VsftpdServer): void {
  publish(node, 'ftp:21', { host, port });
  publish(node, `ftp:${dataPort}`, { host, port: dataPort });
}

function bytesFor(chunks: Buffer[]): Writable {
  return new Writable({
    write(chunk, _encoding, done) {
      chunks.push(chunk);
      done();
    },
  });
}

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

const SCRIPT = `
  const client = new Client(5000);
  await client.access({ host: 'ftp.starlane', ...options });
  const body = Buffer.alloc(4_000_000, 'all of it ');
  await client.uploadFrom(Readable.from([body]), 'body');
  say({ names: (await client.list()).map(({ name, size }) => [name, size]) });
  const chunks = [];
  await client.downloadTo(new Writable({ write(chunk, _, done) { chunks.push(chunk); done(); } }), 'body');
  say({ same: Buffer.concat(chunks).equals(body) });
  await client.remove('body');
  client.close();`;

const HEADERS = {
  module: `import { Client } from 'basic-ftp'; import { Readable, Writable } from 'node:stream';`,
  commonjs: `const { Client } = require('basic-ftp'); const { Readable, Writable } = require('node:stream');`,
};

describeWithPrograms('basic-ftp', VSFTPD, () => {
  let server: VsftpdServer;
  beforeAll(async () => {
    server = await startVsftpd();
  }, 90_000);
  afterAll(() => server.stop());

  describe('with sockets of node.net', () => {
    const nodes = linkedNodes();
    beforeEach(() => publishFtp(nodes.listener, server));

    function client(): Client {
      const { net } = nodes.joiner;
      const client = new Client(10_000);
      (client.ftp as unknown as SocketMaker)._newSocket = () => new net.Socket();
      nodes.finally(() => client.close());
      return client;
    }

    async function connected(secureOptions?: { ca: string }): Promise<Client> {
      const made = client();
      await within(
        'access',
        made.access({ host: 'ftp', port: 21, secure: secureOptions !== undefined, secureOptions }),
      );
      return made;
    }

    async function download(from: Client, path: string): Promise<Buffer> {
      const chunks: Buffer[] = [];
      await within('the download', from.downloadTo(bytesFor(chunks), path));
      return Buffer.concat(chunks);
    }

    it('makes, lists and removes folders', async () => {
      const ftp = await connected();
      await within('a folder', ftp.ensureDir('one/two'));
      expect(await within('the path', ftp.pwd())).toMatch(/one\/two$/);
      await within('back', ftp.cd('../..'));
      expect((await within('the list', ftp.list('one'))).map(({ name, isDirectory }) => [name, isDirectory])).toEqual([
        ['two', true],
      ]);
      await within('removing', ftp.removeDir('one'));
      expect(await within('the list', ftp.list())).toEqual([]);
    });

    it('carries files of 4 MiB both ways, one after the other', async () => {
      const ftp = await connected();
      for (let count = 0; count < 3; count++) {
        const body = randomBytes(4 * MIB);
        await within('the upload', ftp.uploadFrom(Readable.from([body]), 'large'));
        expect(await within('the size', ftp.size('large'))).toBe(body.length);
        expect(digest(await download(ftp, 'large'))).toBe(digest(body));
      }
      await within('removing', ftp.remove('large'));
    });

    it('resumes the transfer of a file', async () => {
      const ftp = await connected();
      await within('the upload', ftp.uploadFrom(Readable.from([Buffer.from('one ')]), 'parts'));
      await within('the rest', ftp.appendFrom(Readable.from([Buffer.from('two')]), 'parts'));
      const chunks: Buffer[] = [];
      await within('the download', ftp.downloadTo(bytesFor(chunks), 'parts', 4));
      expect(String(Buffer.concat(chunks))).toBe('two');
      await within('removing', ftp.remove('parts'));
    });

    it('gets the error of a failed command and goes on', async () => {
      const ftp = await connected();
      await within('the refusal', expect(ftp.size('nothing')).rejects.toMatchObject({ code: 550 }));
      expect(await within('the list', ftp.list())).toEqual([]);
    });

    it('speaks TLS on control and data connections', async () => {
      const { cert } = await certificateFor('ftp');
      const ftp = await connected({ ca: cert });
      const body = randomBytes(4 * MIB);
      await within('the upload', ftp.uploadFrom(Readable.from([body]), 'secret'));
      expect(digest(await download(ftp, 'secret'))).toBe(digest(body));
      await within('removing', ftp.remove('secret'));
    });

    it('ends a command with an error when the link is lost, and connects again', async () => {
      const ftp = await connected();
      const failed = expect(ftp.downloadTo(bytesFor([]), 'nothing')).rejects.toThrow('ECONNRESET');
      nodes.cut();
      await within('the error', failed);
      await within('access', ftp.access({ host: 'ftp', port: 21 }));
      expect(await within('the list', ftp.list())).toEqual([]);
    });
  });

  describe.each(WAYS)('under the preload, %s', (way) => {
    const network = scriptNetwork(way);
    beforeEach(() => publishFtp(network.server, server));

    it.each(['module', 'commonjs'] as const)(
      'stores and fetches a file by name (%s)',
      async (kind) => {
        const lines = await network.run(kind, `${HEADERS[kind]}\nconst options = {};\n(async () => {${SCRIPT}})();`);
        expect(lines).toEqual([{ names: [['body', 4_000_000]] }, { same: true }]);
      },
      SCRIPT_SPEC_MS,
    );

    it(
      'stores and fetches a file over TLS',
      async () => {
        const { cert } = await certificateFor('ftp');
        const options = { secure: true, secureOptions: { ca: cert, servername: 'ftp' } };
        const head = `${HEADERS.module}\nconst options = ${JSON.stringify(options)};`;
        const lines = await network.run('module', `${head}\n(async () => {${SCRIPT}})();`);
        expect(lines).toEqual([{ names: [['body', 4_000_000]] }, { same: true }]);
      },
      SCRIPT_SPEC_MS,
    );
  });
});
