// The same by require, which TypeScript allows from 5.8 on in nodenext, as Node does.

import starlane = require('starlane');
import mux = require('starlane/mux');
import http = require('starlane/http');

const node: starlane.Node = starlane.createNode();
node.on('warning', ({ code }) => code.length);
export = [http.agent(node), mux.Session];
