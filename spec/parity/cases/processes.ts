// When a process exits by itself, and what makes it exit. Each case is a separate program.

import { expect } from '@jest/globals';
import { type Case, soon, type Topic } from '../trial.js';

/** What the exit code says: a timer that holds nothing came to be due, so something else has held the process. */
const HELD = 7;
const WATCH = `setTimeout(() => process.exit(${HELD}), 60).unref();`;

/** A server at its place, as \`server\`. */
const LISTENING = `
  const server = serverNet.createServer();
  server.listen(place);
  await once(server, 'listening');`;

/** Two ends of a socket, as \`near\` and \`far\`, of a server that holds nothing. */
const ENDS = `
  ${LISTENING}
  server.unref();
  const near = clientNet.connect(to(server));
  const [[far]] = await Promise.all([once(server, 'connection'), once(near, 'ready')]);`;

function exits(title: string, code: number, body: string): Case {
  return {
    title,
    run: async (_carrier, t) => {
      const child = t.program(body);
      expect([await soon('the end of the process', child.exited), child.lines]).toEqual([code, []]);
    },
  };
}

function held(title: string, body: string): Case {
  return exits(`goes on ${title}`, HELD, `${body}\n${WATCH}`);
}

function ends(title: string, body: string): Case {
  return exits(`ends ${title}`, 0, body);
}

export const PROCESSES: Topic = {
  // What holds a process is the same for them as over a link and with a secret.
  without: ['loopback', 'relay'],
  name: 'a process',
  cases: [
    {
      title: 'exits by itself after an exchange, when everything is closed',
      run: async (_carrier, t) => {
        const child = t.program(`
          ${LISTENING}
          server.on('connection', (socket) => socket.pipe(socket));
          const near = clientNet.connect(to(server));
          near.end('hello');
          for await (const chunk of near) say({ text: String(chunk) });
          server.close(() => say({ text: 'closed' }));`);
        expect(await soon('the end of the process', child.exited)).toBe(0);
        expect(child.lines).toEqual([{ text: 'hello' }, { text: 'closed' }]);
      },
    },
    held('while a server listens', LISTENING),
    ends('although a server listens that is unref', `${LISTENING} server.unref();`),
    ends(
      'although a server listens that was unref before',
      "const server = serverNet.createServer().unref(); server.listen(place); await once(server, 'listening');",
    ),
    held('while a server listens that is ref again', `${LISTENING} server.unref(); server.ref();`),
    ends('with a server that does not listen', 'serverNet.createServer();'),
    ends('with a socket that is not connected', 'new clientNet.Socket();'),
    held('while a dialled socket is open', `${ENDS} far.unref();`),
    held('while an accepted socket is open', `${ENDS} near.unref();`),
    ends('although sockets are open that are unref', `${ENDS} near.unref(); far.unref();`),
    held('while a socket is open that is ref again', `${ENDS} near.unref(); far.unref(); near.ref();`),
    ends(
      'although a socket is open that was unref before it was connected',
      `${LISTENING}
      server.unref();
      server.on('connection', (socket) => socket.unref());
      const near = new clientNet.Socket().unref();
      near.connect(to(server));
      server.ref();
      await Promise.all([once(server, 'connection'), once(near, 'ready')]);
      server.unref();`,
    ),
    ends('although an unref socket has a timeout', `${ENDS} near.unref(); far.unref(); near.setTimeout(60_000);`),
    ends('when its sockets are destroyed', `${ENDS} near.destroy(); far.destroy();`),
    held('while a socket is half-closed', `${ENDS} far.allowHalfOpen = true; near.end(); far.unref();`),
    ends(
      'when both ends of a socket have ended, though what has arrived was never read',
      `${ENDS} far.end('answer'); near.resume(); near.end('a question');`,
    ),
    ends(
      'although a socket is open that was paused from the start and never read',
      `
      const server = serverNet.createServer({ pauseOnConnect: true });
      server.listen(place);
      await once(server, 'listening');
      server.unref();
      const near = clientNet.connect(to(server));
      await Promise.all([once(server, 'connection'), once(near, 'ready')]);
      near.unref();`,
    ),
    held('while a socket is paused that has begun to read', `${ENDS} far.pause(); near.unref();`),
    held('while a closed server has a socket', `${ENDS} server.ref(); server.close(); far.unref();`),
    {
      title: 'exits with the error of a server without an error listener',
      run: async (_carrier, t) => {
        const child = t.program(`
          process.on('uncaughtException', ({ code }) => {
            say({ code });
            process.exit(1);
          });
          ${LISTENING}
          serverNet.createServer().listen({ ...place, port: server.address().port });`);
        expect(await soon('the end of the process', child.exited)).toBe(1);
        expect(child.lines).toEqual([{ code: 'EADDRINUSE' }]);
      },
    },
    {
      title: 'exits with the error of connect without an error listener',
      run: async (_carrier, t) => {
        const child = t.program(`
          process.on('uncaughtException', ({ code }) => {
            say({ code });
            process.exit(1);
          });
          const spare = clientNet.createServer();
          spare.listen(0, '127.0.0.1');
          await once(spare, 'listening');
          const { port } = spare.address();
          spare.close();
          await once(spare, 'close');
          clientNet.connect(port, '127.0.0.1');`);
        expect(await soon('the end of the process', child.exited)).toBe(1);
        expect(child.lines).toEqual([{ code: 'ECONNREFUSED' }]);
      },
    },
    {
      title: 'notices a reset without an error listener',
      differs: 'on the overlay another node cannot crash a process: only close is emitted',
      run: async ({ isOverlay }, t) => {
        const child = t.program(`
          process.on('uncaughtException', ({ code }) => {
            say({ code });
            process.exit(1);
          });
          ${ENDS}
          far.resume();
          far.on('close', (hadError) => setImmediate(() => {
            say({ hadError });
            process.exit(0);
          }));
          near.resetAndDestroy();`);
        const code = await soon('the end of the process', child.exited);
        if (isOverlay) expect([code, child.lines]).toEqual([0, [{ hadError: true }]]);
        else expect([code, child.lines]).toEqual([1, [{ code: 'ECONNRESET' }]]);
      },
    },
  ],
};
