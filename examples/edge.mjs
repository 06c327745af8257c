// The edge of a network in one program: a gateway that brings HTTP from outside to services, the monitor page, and metrics.
//
//   npm install starlane prom-client
//   node examples/edge.mjs

import http from 'node:http';
import { createNode } from 'starlane';
import { gateway, metrics, monitor } from 'starlane/http';
