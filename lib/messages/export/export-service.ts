// exportService: one service of a network, offered in another one by a program that has a node in both.

import { optionError } from '../../errors.js';
import type { Node } from '../../node/node.js';
import type { Allow } from '../../options/allow.js';
import { isNode } from '../node-argument.js';
import { checkNames } from '../option-checks.js';
import { addressOf, exportedName, exportMeta } from './offered.js';
import { type ExportBind, type Inner, ServiceExport } from './service-export.js';

const MAX_CIRCUITS = 1_000_000;
export const DEFAULT_MAX_CIRCUITS = 1_024;

const OPTIONS = ['from', 'to', 'service', 'as', 'allow', 'weight', 'meta', 'instance', 'maxCircuits'];

/** Options of `exportService`. */
export interface ExportServiceOptions {
  /** The node in the network that has the service. */
  from: Node;
  /** The node in the network in which to offer it. */
  to: Node;
  /**
   * What to export: `orders` leads to what is bound as `orders` without a port, `orders:80` to what answers at this port, `orders:16` to
   * messages, commands and APIs.
   */
  service: string;
  /** The name, or name and port, in the other network. Default: the same. */
  as?: string | undefined;
  /** Who may dial there. The `allow` of the node `to`, and those of the service itself, are asked as well. */
  allow?: Allow | undefined;
  /** As for `bind`, 0 to 255. Default 1. */
  weight?: number | undefined;
  /** An object that fits 4096 bytes of JSON with the key `starlane.export`, which is added. The meta of the service itself is not exported. */
  meta?: object | undefined;
  /** The name of this instance, as for `bind`. */
  instance?: string | undefined;
  /** How many circuits may be open, 1 to 1000000. Further ones are refused, so that a dial tries another instance. Default 1024. */
  maxCircuits?: number | undefined;
}

/**
 * Offers one service of a network in another one, and nothing else of it: neither nodes nor routes nor other services. It is offered
 * while the service has an instance. Each circuit is accepted when the service has accepted one, so that a dial tries another instance
 * otherwise. The service sees the node `from` as its caller, and not the one that dials in the other network.
 * @throws ERR_STARLANE_OPTION
 */
export function exportService(options: ExportServiceOptions): ServiceExport {
  checkNames('exportService', options, OPTIONS);
  const { from, to, allow, weight, instance, maxCircuits = DEFAULT_MAX_CIRCUITS } = options;
  checkNodes(from, to);
  const name = exportedName('service', options.service);
  const as = options.as === undefined ? name : exportedName('as', options.as);
  const meta = exportMeta(options.meta);
  if (!(Number.isInteger(maxCircuits) && maxCircuits >= 1 && maxCircuits <= MAX_CIRCUITS)) {
    throw optionError('maxCircuits', `must be an integer from 1 to ${MAX_CIRCUITS}`);
  }
  const bind: ExportBind = (prepare, onCircuit) =>
    new Promise((resolve, reject) => {
      const server = to.bind(
        addressOf(as),
        { allow, weight, meta, instance, prepare, allowHalfOpen: true },
        (circuit, inner) => onCircuit(circuit, inner as Inner),
      );
      server.once('error', reject);
      server.once('listening', () => {
        server.removeListener('error', reject);
        resolve(server);
      });
    });
  const made = new ServiceExport(from, name, maxCircuits, bind);
  const onClosed = (): void => made.end();
  for (const node of [from, to]) node.once('close', onClosed);
  made.onStopped = () => {
    for (const node of [from, to]) node.removeListener('close', onClosed);
  };
  return made;
}

/** @throws ERR_STARLANE_OPTION */
export function checkNodes(from: Node, to: Node): void {
  if (!isNode(from)) throw optionError('from', 'must be a node');
  if (!isNode(to)) throw optionError('to', 'must be a node');
  if (from === to) throw optionError('to', 'must be another node than from');
}
