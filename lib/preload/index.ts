// `node --import starlane/register app.js`: in an unchanged program, hosts that end in `.starlane` are services of the
// overlay, for net, tls, http, https, http2 and fetch: to connect to, and to listen at. Everything else stays as it is.
//
// The node of the process is made from the environment (STARLANE_JOIN, STARLANE_LISTEN, STARLANE_ROLE and so on), and what is
// wrong with that ends the process at its start. A mesh that cannot be reached yet is no such fault: a connect waits for the
// service up to the dial timeout.

import { syncBuiltinESMExports } from 'node:module';
import { patchDns } from './dns.js';
import { patchListen, patchNet } from './net.js';
import { OverlayNode } from './overlay-node.js';
import { patchTls } from './tls.js';

const overlay = new OverlayNode();
patchDns();
patchNet(() => overlay.net);
patchListen((address, server) => overlay.bind(address, server));
patchTls();
syncBuiltinESMExports();
