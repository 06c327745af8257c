// Opens what a host and a port mean: a circuit, or with --direct a connection beyond the network.

import { lookup } from 'node:dns';
import { BlockList, connect, isIP, type LookupFunction, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { netError } from '../../errors.js';
import { isLoopbackAddress } from '../local/address.js';
import type { Overlay } from '../run/overlay.js';
import { type Meaning, meaningOf, serviceOf } from './names.js';

const DIRECT_MS = 30_000;

/** Addresses that mean this machine, or its own cables: what listens there does not expect others. */
const OWN = new BlockList();
OWN.addSubnet('0.0.0.0', 8, 'ipv4');
OWN.addSubnet('169.254.0.0', 16, 'ipv4');
OWN.addAddress('::', 'ipv6');
OWN.addSubnet('fe80::', 10, 'ipv6');

export interface WayOutOptions {
  readonly suffix: string;
  /** Whether hosts beyond the network may be reached. */
  readonly isDirect: boolean;
  /** Whether only this machine can ask. Others do not get to its own addresses. */
  readonly isLocal: boolean;
}

/** Thrown for a host beyond the network without --direct. */
export class NotAllowed extends Error {
  readonly code = 'EACCES';

  constructor(host: string) {
    super(`${host} is no service of the network`);
  }
}

/** Thrown for a name that is neither a service nor, without --direct, anything else. */
export class NoSuchName extends Error {
  readonly code = 'ENOTFOUND';

  constructor(name: string) {
    super(`no node offers ${name}`);
  }
}

/**
 * Returns the connection, which may still be connecting.
 * @throws NotAllowed, NoSuchName, and what `dial` throws
 */
export async function open(overlay: Overlay, host: string, port: number, options: WayOutOptions): Promise<Duplex> {
  const meaning = meaningOf(host, port, options.suffix);
  switch (meaning.kind) {
    case 'service':
      return dial(overlay, meaning);
    case 'host':
      if (!options.isDirect) throw new NotAllowed(meaning.host);
      return direct(meaning.host, port, options.isLocal);
    case 'either':
      if (await isOffered(overlay, meaning.name)) return dial(overlay, serviceOf(meaning.name, port));
      if (!options.isDirect) throw new NoSuchName(meaning.name);
      return direct(meaning.name, port, options.isLocal);
    case 'nothing':
      throw new NoSuchName(JSON.stringify(host));
  }
}

/** Whether there is a service of the name, or `0.kafka` may be an instance of one. */
async function isOffered(overlay: Overlay, name: string): Promise<boolean> {
  return (await overlay.offers(name)) || overlay.offers(name.slice(name.indexOf('.') + 1));
}

function dial(overlay: Overlay, meaning: Meaning): Duplex {
  if (meaning.kind !== 'service') throw new NoSuchName('this name');
  const { address, preferredPort } = meaning;
  return overlay.dial(address, { preferredPort });
}

function direct(host: string, port: number, isLocal: boolean): Socket {
  if (!isLocal && (host.toLowerCase() === 'localhost' || isOwn(host))) throw new NotAllowed(host);
  const guarded: LookupFunction = (name, options, callback) => {
    lookup(name, { ...options, all: true }, (error, found) => {
      if (error !== null) return callback(error, []);
      const allowed = isLocal ? found : found.filter(({ address }) => !isOwn(address));
      if (allowed.length === 0) return callback(new NotAllowed(name) as NodeJS.ErrnoException, []);
      if (options.all === true) return callback(null, allowed);
      return callback(null, allowed[0].address, allowed[0].family);
    });
  };
  const socket = connect({ host, port, lookup: guarded, autoSelectFamily: true, allowHalfOpen: true, noDelay: true });
  const timer = setTimeout(() => socket.destroy(netError('ETIMEDOUT', 'connect', { address: host, port })), DIRECT_MS);
  const settled = () => clearTimeout(timer);
  socket.once('connect', settled);
  socket.once('close', settled);
  return socket;
}

function isOwn(text: string): boolean {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(text);
  const address = mapped?.[1] ?? text;
  const family = isIP(address);
  if (family === 0) return false;
  return isLoopbackAddress(address) || OWN.check(address, family === 4 ? 'ipv4' : 'ipv6');
}
