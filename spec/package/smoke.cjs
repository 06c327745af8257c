// The same as smoke.mjs by require, but for the page.
const assert = require('node:assert');
const { createNode } = require('starlane');
const { agent, connector } = require('starlane/http');
const { Session } = require('starlane/mux');

assert.equal(typeof agent(createNode()).addRequest, 'function');
assert.equal(typeof connector(createNode()), 'function');
import('./smoke-run.mjs').then(({ smoke }) => smoke(createNode, Session));
