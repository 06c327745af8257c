// The packed package, imported: two nodes over loopback TCP, an echo by service name, and an end without being told to.
import { createNode } from 'starlane';
import { Session } from 'starlane/mux';
import { smoke } from './smoke-run.mjs';

await smoke(createNode, Session);
