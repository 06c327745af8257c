// The version before certificates of members, and this one, in one network with a secret. The old one is built from the history of this
// repository; where that is missing, as in a shallow clone, there is nothing to compare with.

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { duplexPair } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { createNode, type Link, type Node, type NodeOptions } from '../../lib/index.js';
import { within } from '../support/deadline.js';
import { memberFolder } from '../support/member-folders.js';
import { newAuthority } from '../support/members.js';
import { describeUnless } from '../support/obstacle.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { readToEnd } from '../support/testnet.js';

/** The last commit without certificates of members. */
const COMMIT = 'b513708';
const SECRET = 'a secret of more than 16 bytes';
const BUILT = `build/previous/${COMMIT}.mjs`;

function hasCommit(): boolean {
  try {
    execFileSync('git', ['cat-file', '-e', `${COMMIT}^{commit}`], { stdio: 'ignore' });
    return true;
  } catch {
    return existsSync(BUILT);
  }
}

/** Builds the old version, once. Several spec runs may do so at a time: the result is renamed into its place. */
function buildOld(): void {
  if (existsSync(BUILT)) return;
  const source = `build/previous/${COMMIT}-${process.pid}`;
  mkdirSync(source, { recursive: true });
  const archive = execFileSync('git', ['archive', COMMIT, 'lib', 'package.json'], { maxBuffer: 64 * 1024 * 1024 });
  execFileSync('tar', ['-x', '-C', source], { input: archive });
  const bundle = ['--bundle', '--format=esm', '--platform=node', '--log-level=warning', `--outfile=${source}/old.mjs`];
  execFileSync('node_modules/.bin/esbuild', [`${source}/lib/index.ts`, ...bundle]);
  renameSync(`${source}/old.mjs`, BUILT);
  rmSync(source, { recursive: true });
}

const obstacle = hasCommit()
  ? undefined
  : { reason: `the history has no ${COMMIT}: git fetch --unshallow`, isMissing: false };

type Make = typeof createNode;
let oldVersion: Make;
const nodes: Node[] = [];
const authority = newAuthority();

/** `old`: of the version before; all others are of this one. */
type Kind = 'old' | 'secret' | 'member+secret' | 'member';

function make(kind: Kind): Node {
  const options: NodeOptions = {
    closeTimeoutMs: 200,
    rejoinMinMs: 1,
    rejoinMaxMs: 5,
    ...(kind === 'member' ? {} : { secret: SECRET }),
    ...(kind.startsWith('member') ? { credentials: memberFolder(authority).folder } : {}),
  };
  const node = (kind === 'old' ? oldVersion : createNode)(options);
  nodes.push(node);
  return node;
}

const OTHERS: readonly Kind[] = ['secret', 'member+secret'];
const WAYS = ['tls', 'memory'] as const;
type Way = (typeof WAYS)[number];
const PAIRS = OTHERS.flatMap((kind) =>
  WAYS.flatMap(
    (way): Array<[Kind, Kind, Way]> => [
      ['old', kind, way],
      [kind, 'old', way],
    ],
  ),
);

/** Resolves with both ends of a link, or the errors with which the two nodes refuse it. */
async function link(dialler: Node, server: Node, way: Way): Promise<Array<Link | Error>> {
  if (way === 'memory') {
    const [near, far] = duplexPair();
    const ends = [dialler.attach(near, { initiator: true }), server.attach(far, { initiator: false })];
    return Promise.all(ends.map((end) => end.catch((error) => error)));
  }
  const { address } = await server.listenAndServe('127.0.0.1:0');
  const far = Promise.race([once(server, 'link'), once(server, 'warning')]).then(([end]) => end as Link | Error);
  // An old version retries after what it does not know.
  const failed = once(dialler, 'warning').then(([error]) => error as Error);
  const near = Promise.race([dialler.join(address).catch((error) => error as Error), failed]);
  return within('both ends', Promise.all([near, far]));
}

async function echo(from: Node, service: string): Promise<string> {
  await within(service, from.waitFor(service));
  const socket = from.dial(service);
  socket.end('hello');
  return (await within('the echo', readToEnd(socket))).toString();
}

describeUnless(obstacle, 'the version before certificates of members', () => {
  beforeAll(async () => {
    buildOld();
    oldVersion = ((await import(pathToFileURL(BUILT).href)) as { createNode: Make }).createNode;
  }, 60_000);
  beforeEach(() => watchHandles());
  afterEach(async () => {
    await Promise.all(nodes.splice(0).map((node) => node.close()));
    await nothingLeft();
  });

  it.each(PAIRS)('has links between %s and %s over %s, with the same secret', async (one, other, way) => {
    const [client, server] = [make(one), make(other)];
    expect(await link(client, server, way)).toMatchObject([{ peerId: server.id }, { peerId: client.id }]);
    for (const [node, name] of [
      [client, 'at-client'],
      [server, 'at-server'],
    ] as const) {
      node.bind(name, (socket) => socket.pipe(socket));
    }
    expect(await echo(client, 'at-server')).toBe('hello');
    expect(await echo(server, 'at-client')).toBe('hello');
  });

  it.each([
    ['old', 'member+secret', 'old'],
    ['member+secret', 'old', 'member+secret'],
    ['secret', 'old', 'member+secret'],
  ] as const)('reaches and relays services: %s through %s to %s', async (first, second, third) => {
    const [dialler, relay, server] = [make(first), make(second), make(third)];
    const { address } = await relay.listenAndServe('127.0.0.1:0');
    server.bind('echo', (socket) => socket.pipe(socket));
    await Promise.all([dialler.join(address), server.join(address)]);
    expect(await echo(dialler, 'echo')).toBe('hello');
  });

  it('reads the records of instances with names, passes them on, and dials the service', async () => {
    const [dialler, relay, server] = [make('secret'), make('old'), make('secret')];
    const { address } = await relay.listenAndServe('127.0.0.1:0');
    server.bind('kafka', { instance: '0' }, (socket) => socket.pipe(socket));
    await Promise.all([dialler.join(address), server.join(address)]);
    expect(await echo(relay, 'kafka')).toBe('hello');
    expect(await echo(dialler, '0.kafka')).toBe('hello');
    expect(dialler.serviceMap().get('kafka')).toMatchObject([{ instance: '0' }]);
    expect(relay.serviceMap().get('kafka')).toMatchObject([{ service: 'kafka', weight: 1 }]);
  });

  it.each(WAYS)('and a member without the secret refuse each other over %s, and both get to know why', async (way) => {
    for (const [one, other] of [
      ['old', 'member'],
      ['member', 'old'],
    ] as const) {
      const errors = (await link(make(one), make(other), way)) as Error[];
      const [atOld, atMember] = one === 'old' ? errors : [...errors].reverse();
      if (way === 'tls' || one === 'old') {
        expect(atMember).toMatchObject({
          code: 'ERR_STARLANE_CERTIFICATE',
          message: expect.stringMatching(/enrol it, or give this node/),
        });
        expect(atOld).toMatchObject({
          code: 'ERR_STARLANE_HANDSHAKE',
          message: expect.stringMatching(/this node has none.*enrol this node/),
        });
      } else {
        // The old version sees first that there is no secret.
        expect(atMember).toMatchObject({
          code: 'ERR_STARLANE_SECRET',
          message: expect.stringMatching(/the peer has a secret, this node/),
        });
        expect(atOld).toMatchObject({
          code: 'ERR_STARLANE_SECRET',
          message: expect.stringMatching(/this node has a secret, the peer/),
        });
      }
    }
  });
});
