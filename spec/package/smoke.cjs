// The same as smoke.mjs by require.
const { createNode } = require('starlane');
const { Session } = require('starlane/mux');

import('./smoke-run.mjs').then(({ smoke }) => smoke(createNode, Session));
