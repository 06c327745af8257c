// nodemailer against smtp-server, a bound net.Server, with STARTTLS: with a handler for the sockets of its transport, and
// unchanged under the preload.

import { createHash, randomBytes } from 'node:crypto';
import { beforeEach, describe, expect, it } from '@jest/globals';
import { createTransport, type Transporter } from 'nodemailer';
import { SMTPServer } from 'smtp-server';
import type { Node } from '../../lib/index.js';
import { certificateFor } from '../support/certificates.js';
import { within } from '../support/deadline.js';
import { linkedNodes } from './linked-nodes.js';
import { SCRIPT_SPEC_MS, scriptNetwork, WAYS } from './script-network.js';
import type { SpecNodes } from './spec-nodes.js';

const MIB = 1024 * 1024;
const USER = { user: 'user', pass: 'secret' };

interface Mail {
  readonly secure: boolean;
  readonly user: string | undefined;
  readonly to: readonly string[];
  readonly text: string;
}

/** A mail server under the name `mail`, which accepts mail from TLS clients and keeps it. */
async function serve(nodes: SpecNodes, node: Node): Promise<{ server: SMTPServer; mails: Mail[] }> {
  const { cert, key } = await certificateFor('mail');
  const mails: Mail[] = [];
  const server = new SMTPServer({
    key,
    cert,
    disableReverseLookup: true,
    onAuth: ({ username, password }, _session, done) => {
      if (username === USER.user && password === USER.pass) done(null, { user: username });
      else done(new Error('wrong password'));
    },
    onData: (stream, session, done) => {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        const { secure, user, envelope } = session;
        mails.push({
          secure,
          user,
          to: envelope.rcptTo.map(({ address }) => address),
          text: Buffer.concat(chunks).toString(),
        });
        done();
      });
    },
  });
  server.on('error', () => {}); // From clients that have gone; specs check what the others get.
  node.bind('mail', server.server);
  nodes.finally(() => server.close());
  return { server, mails };
}

const SCRIPT = `
  const transport = createTransport({ host: 'mail.starlane', port: 25, requireTLS: true, auth, tls });
  const from = 'a@example.com', to = 'b@example.com';
  const answers = await Promise.all([1, 2, 3].map((number) => transport.sendMail({ from, to, text: 'mail ' + number })));
  say({ accepted: answers.map(({ accepted }) => accepted) });
  await transport.sendMail({ from, to, attachments: [{ content: Buffer.alloc(3_000_000) }] });
  await transport.verify();
  transport.close();`;

const HEADERS = {
  module: `import { createTransport } from 'nodemailer';`,
  commonjs: `const { createTransport } = require('nodemailer');`,
};

describe('nodemailer with a handler for sockets', () => {
  const nodes = linkedNodes();
  let server: SMTPServer;
  let mails: Mail[];
  beforeEach(async () => {
    ({ server, mails } = await serve(nodes, nodes.listener));
  });

  async function transport(options: object = {}, service = 'mail'): Promise<Transporter> {
    const { cert } = await certificateFor('mail');
    const made = createTransport({
      host: 'mail',
      port: 25,
      proxy: 'starlane:',
      requireTLS: true,
      auth: USER,
      tls: { ca: cert },
      ...options,
    } as object);
    made.set('proxy_handler_starlane', ((_proxy: unknown, _options: unknown, done: (...values: unknown[]) => void) => {
      const socket = nodes.netDial(service, { timeoutMs: 1000 });
      socket.once('error', done);
      socket.once('connect', () => {
        socket.off('error', done);
        done(null, { connection: socket });
      });
    }) as never);
    nodes.finally(() => made.close());
    return made as Transporter;
  }

  const MAIL = { from: 'a@example.com', to: 'b@example.com' };

  it('authenticates and sends over STARTTLS', async () => {
    const client = await transport();
    const { accepted } = await within('the mail', client.sendMail({ ...MAIL, text: 'hello' }));
    expect(accepted).toEqual(['b@example.com']);
    expect(mails).toEqual([
      { secure: true, user: 'user', to: ['b@example.com'], text: expect.stringMatching(/hello/) },
    ]);
  });

  it('sends an attachment of 10 MiB whole', async () => {
    const client = await transport();
    const content = randomBytes(10 * MIB);
    await within('the mail', client.sendMail({ ...MAIL, attachments: [{ content, filename: 'large' }] }));
    const [, base64] = /Disposition: attachment.*?\r\n\r\n([\w+/=\r\n]+)/s.exec(mails[0].text) ?? [];
    const hash = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
    expect(hash(Buffer.from(base64 ?? '', 'base64'))).toBe(hash(content));
  });

  it('sends 50 mails over a pool of four', async () => {
    const client = await transport({ pool: true, maxConnections: 4 });
    const sent = Array.from({ length: 50 }, (_, number) => `mail ${number}.`);
    await within('the mails', Promise.all(sent.map((text) => client.sendMail({ ...MAIL, text }))));
    expect(mails).toHaveLength(50);
    for (const text of sent) expect(mails.some((mail) => mail.text.includes(text))).toBe(true);
  });

  it('gets an error for a wrong password', async () => {
    const client = await transport({ auth: { ...USER, pass: 'guessed' } });
    await within('the refusal', expect(client.verify()).rejects.toMatchObject({ code: 'EAUTH', responseCode: 535 }));
  });

  it('rejects a server that it does not trust, with the cause', async () => {
    const client = await transport({ tls: {} });
    await within('the refusal', expect(client.verify()).rejects.toMatchObject({ code: 'ESOCKET' }));
  });

  it('fails when the link is lost', async () => {
    const client = await transport({ pool: true });
    await within('the mail', client.sendMail({ ...MAIL, text: 'before' }));
    nodes.cut();
    await within('the next mail', client.sendMail({ ...MAIL, text: 'after' }));
    expect(mails.map(({ text }) => /before|after/.exec(text)?.[0])).toEqual(['before', 'after']);
  });

  // A bound server counts its sockets by a listener, which smtp-server removes when it takes a socket over for TLS.
  it("emits 'close' when its last client has gone", async () => {
    const client = await transport();
    await within('the mail', client.sendMail({ ...MAIL, text: 'hello' }));
    await within('the end', new Promise<void>((resolve) => server.close(() => resolve())), 2000);
  });

  it('gets an error for a service that does not exist', async () => {
    const client = await transport({}, 'nowhere');
    await within('the refusal', expect(client.verify()).rejects.toThrow('ENOTFOUND'));
  });
});

describe.each(WAYS)('nodemailer under the preload, %s', (way) => {
  const network = scriptNetwork(way);
  let mails: Mail[];
  beforeEach(async () => {
    ({ mails } = await serve(network, network.server));
  });

  it.each(['module', 'commonjs'] as const)(
    'sends by STARTTLS to a server by name (%s)',
    async (kind) => {
      const { cert } = await certificateFor('mail');
      const settings = `const auth = ${JSON.stringify(USER)}; const tls = ${JSON.stringify({ ca: cert, servername: 'mail' })};`;
      const lines = await network.run(kind, `${HEADERS[kind]}\n${settings}\n(async () => {${SCRIPT}})();`);
      expect(lines).toEqual([{ accepted: Array(3).fill(['b@example.com']) }]);
      expect(mails.map(({ secure, user }) => ({ secure, user }))).toEqual(
        Array(4).fill({ secure: true, user: 'user' }),
      );
      expect(mails.at(-1)?.text.length).toBeGreaterThan(4_000_000);
    },
    SCRIPT_SPEC_MS,
  );
});
