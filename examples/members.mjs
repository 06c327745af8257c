// A network with members: an authority certifies each machine by a token that works once, and rules name members and tags.
//
//   node examples/members.mjs

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createNode } from 'starlane';
import { createNetwork, enrol } from 'starlane/members';

// Each folder stands for /var/lib/starlane of a machine: its key and its certificate.
const home = mkdtempSync(join(tmpdir(), 'starlane-members-'));
const folder = (name) => join(home, name);

// The first machine makes the network, has its key, and offers two services.
createNetwork(folder('office'), { name: 'office' });
const office = createNode({ credentials: folder('office') });
await office.listenAndServe('tls://127.0.0.1:0');
office.bind('orders', { allow: [{ tag: 'shop' }] }, (socket) => socket.end(`orders for ${socket.peer.name}`));
office.bind('salaries', { allow: [{ name: 'bookkeeper' }] }, (socket) => socket.end('salaries'));

// It invites another one. The token is a text to paste; the rights say that the new machine may offer nothing.
const token = await office.invite({ name: 'till-1', tags: ['shop'], rights: { offer: [], relay: false } });

// The other machine needs nothing but the token, once.
const member = await enrol(token, { credentials: folder('till-1') });
console.log(`enrolled: ${member.name}, tags ${member.tags}`);
const till = createNode({ credentials: folder('till-1') });

// A refused machine and a lost link emit a 'warning' at both ends. A real program logs them.
for (const node of [office, till]) node.on('warning', () => {});

/** Dials a service, and prints what it says or why it cannot be had. */
async function ask(service) {
  const socket = till.dial(service);
  try {
    let answer = '';
    for await (const chunk of socket) answer += chunk;
    console.log(`${service}: ${answer}`);
  } catch (error) {
    console.log(`${service}: ${error.code}`);
  }
}

await ask('orders'); // Its tag may.
await ask('salaries'); // Its name may not.

// A token that somebody has copied is of no use.
await enrol(token, { credentials: folder('thief') }).catch(({ code }) => console.log(`enrolled again: ${code}`));

// A machine that is lost is removed: its links and sockets end, and it can make no new ones.
const gone = once(office, 'unlink');
await office.revoke('till-1');
await gone;
console.log(
  'members:',
  office.members().map(({ name }) => name),
);

for (const node of [till, office]) await node.close();
rmSync(home, { recursive: true });
