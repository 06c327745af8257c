// `node --import starlane/register app.js`: in an unchanged program, hosts that end in `.starlane` are services of the
// overlay, for net, tls, http, https, http2 and fetch. Everything else stays as it is.
//
// The node of the process is made from the environment (STARLANE_JOIN, STARLANE_LISTEN, STARLANE_ENV), and what is wrong
// with that ends the process at its start. A mesh that cannot be reached yet is no such fault: a connect waits for the
// service up to the dial timeout.

import { syncBuiltinESMExports } from 'node:module';
import { parseLinkAddress } from './address.js';
import { starlaneError } from './errors.js';
import { isPermanent } from './link/handshake.js';
import { createNode, type Node } from './node.js';
import { readEnvironment } from './node-environment.js';
import { patchDns } from './preload/dns-patch.js';
import { patchNet } from './preload/net-patch.js';
import { patchTls } from './preload/tls-patch.js';
import { throwLater } from './util/throw-later.js';
import { sharedTimers } from './util/timers.js';
import { UnheardFaults } from './util/unheard-faults.js';

/** @throws ERR_STARLANE_OPTION, ERR_STARLANE_ADDRESS */
function startNode(): Node {
  const { join, listen } = readEnvironment(process.env);
  if (join.length === 0 && listen.length === 0) {
    throw starlaneError(
      'ERR_STARLANE_OPTION',
      'STARLANE_JOIN: the address of a node is needed, as in tcp://127.0.0.1:10000',
    );
  }
  for (const address of join) parseLinkAddress(address);
  const node = createNode();
  // What cannot be had at the start, now or ever, ends the process as any uncaught error.
  const end = (error: Error): void => throwLater(error);
  const unheard = new UnheardFaults(() => sharedTimers.now());
  const endIfPermanent = (error: Error): void => {
    if (isPermanent(error) && (error as { code?: string }).code !== 'ERR_STARLANE_SELF_LINK') end(error);
    else unheard.report(error);
  };
  node.on('error', end);
  node.on('warning', endIfPermanent);
  node.once('link', () => node.off('warning', endIfPermanent));
  return node;
}

const node = startNode();
patchDns();
patchNet(() => node.net);
patchTls();
syncBuiltinESMExports();
