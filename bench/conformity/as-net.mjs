// Loaded ahead of one of Node's test files: `require('net')` is `node.net` there. Servers and sockets are of one node.

import Module from 'node:module';
import { createNode } from '../../dist/index.js';

const node = createNode({ dialTimeoutMs: 2_000, closeTimeoutMs: 100, socketAddresses: 'ipv4' });
const { require } = Module.prototype;

/** @this {Module} @param {string} id */
Module.prototype.require = function (id) {
  const isTest = /[\\/]test[\\/](parallel|sequential)[\\/]/.test(this.filename ?? '');
  return isTest && /^(node:)?net$/.test(id) ? node.net : require.call(this, id);
};
