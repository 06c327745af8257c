// The node of a program under the preload. It starts with its first use, so that a program that has nothing to do with the
// overlay is no member of it: `npm`, and whatever else runs in the same environment. One that is to listen for links, or to have
// a part in the network, starts at once.
//
// A program that only dials is a client. One that offers a service has to be known to others: it is a server that passes
// nothing on. STARLANE_ROLE and STARLANE_RELAY say otherwise.

import cluster from 'node:cluster';
import type { Server as NodeServer } from 'node:net';
import { isMainThread } from 'node:worker_threads';
import { parseLinkAddress } from '../address.js';
import { optionError } from '../errors.js';
import { isPermanent } from '../link/handshake/refusals.js';
import { readEnvironment } from '../node/environment.js';
import { createNodeIn, type Node } from '../node/node.js';
import type { NodeOptions, NodeRole } from '../options/options.js';
import type { NetModule } from '../socket/net/module.js';
import type { Server } from '../socket/server.js';
import { withoutContext } from '../util/runtime/no-context.js';
import { throwLater } from '../util/runtime/throw-later.js';
import { sharedTimers } from '../util/timers.js';
import { UnheardFaults } from '../util/warnings.js';

const CLIENT: NodeOptions = { role: 'client', relay: false };

export class OverlayNode {
  /** As the environment has it; undefined where the program decides it. */
  private readonly role: NodeRole | undefined;
  private readonly share: Share;
  private readonly unheard = new UnheardFaults(() => sharedTimers.now());
  /** What the program dials by. */
  private node: Node;
  private offering: Node | undefined;

  /** @throws ERR_STARLANE_OPTION, ERR_STARLANE_ADDRESS and what else is wrong with the environment */
  constructor() {
    const environment = readEnvironment(process.env);
    this.role = environment.role ?? (environment.relay === true ? 'server' : undefined);
    const hasTls = environment.secret !== undefined || environment.tls !== undefined;
    checkAddresses('STARLANE_JOIN', environment.join, hasTls);
    checkAddresses('STARLANE_LISTEN', environment.listen, hasTls);
    if (environment.join.length === 0 && environment.listen.length === 0) {
      throw optionError('STARLANE_JOIN', 'must be the address of a node, as in tcp://127.0.0.1:10000');
    }
    this.share = takeShare(environment.listen, environment.identity);
    const { listen, join, identity } = this.share;
    const options: NodeOptions = {
      ...(this.role === undefined ? CLIENT : { role: this.role }),
      socketAddresses: environment.socketAddresses ?? 'ipv4',
    };
    const rest = { ...environment, listen: [], join: [...environment.join, ...join], identity };
    this.node = this.watched(createNodeIn(options, rest)).startWhenUsed();
    if (listen.length > 0 || (this.role !== undefined && this.role !== 'client')) this.offer();
  }

  get net(): NetModule {
    return withoutContext(() => this.node.net);
  }

  bind(address: string, server: NodeServer): Server {
    return this.offer().bind(address, server);
  }

  /** The node that offers services, started. The program dials by that one as well from now on, as it knows them best. */
  private offer(): Node {
    if (this.offering !== undefined) return this.offering;
    withoutContext(() => {
      // A client that has been used stays, for its sockets.
      if (this.role === undefined) this.node = this.watched(this.node.server());
      this.node.start();
      for (const address of this.share.listen) this.listen(this.node, address);
    });
    this.offering = this.node;
    return this.node;
  }

  /** What cannot be had at the start, now or ever, ends the process as any uncaught error. */
  private watched(node: Node): Node {
    const onWarning = (error: Error): void => {
      if (isPermanent(error) && (error as { code?: string }).code !== 'ERR_STARLANE_SELF_LINK') throwLater(error);
      else this.unheard.report(error);
    };
    node.on('error', throwLater);
    node.on('warning', onWarning);
    node.once('link', () => node.off('warning', onWarning));
    return node;
  }

  private listen(node: Node, address: string): void {
    node.listenAndServe(address).then(
      (listener) => {
        // A program that has nothing to do ends.
        listener.unref();
        tellListening(address, listener.address);
      },
      (error) => {
        if ((error as { code?: string }).code !== 'EADDRINUSE' || !this.share.isPart) throwLater(error);
        else node.join(address).catch((reason) => this.unheard.report(reason));
      },
    );
  }
}

/** What would fail with the first use only fails at the start. */
function checkAddresses(variable: string, addresses: readonly string[], hasTls: boolean): void {
  for (const address of addresses) {
    const { scheme } = parseLinkAddress(address);
    if (scheme === 'tls' && !hasTls) throw optionError(variable, `${address} needs a secret or certificates`);
  }
}

/** How a process tells those that it starts what it has taken. */
const VARIABLE = 'STARLANE_PRELOADED';

interface Taken {
  readonly pid: number;
  /** By the address as STARLANE_LISTEN has it: where the process listens, which is another one where the port was 0. */
  readonly listen: Record<string, string>;
  readonly identity: string | undefined;
}

export interface Share {
  /** The addresses to listen at. */
  readonly listen: readonly string[];
  /** The addresses at which a process listens that this one belongs to. */
  readonly join: readonly string[];
  readonly identity: string | undefined;
  /** Whether an address may be in use by a process that this one belongs to, and is joined then. */
  readonly isPart: boolean;
}

/** What is left for this process of what its environment says. */
export function takeShare(listen: readonly string[], identity: string | undefined): Share {
  const above = readTaken(process.env[VARIABLE]);
  const isPart = !isMainThread || cluster.isWorker || above !== undefined;
  const join: string[] = [];
  const own: string[] = [];
  for (const address of listen) {
    const taken = above?.listen[address];
    if (taken === undefined || isAnyPort(taken)) own.push(address);
    else join.push(taken);
  }
  const isTaken = identity !== undefined && above?.identity === identity;
  const share = { listen: own, join, identity: isTaken ? undefined : identity, isPart };
  // What this one starts belongs to the first as well.
  if (above === undefined || own.length > 0) {
    const listening = { ...above?.listen, ...Object.fromEntries(own.map((address) => [address, address])) };
    writeTaken({ pid: process.pid, listen: listening, identity: above?.identity ?? identity });
  }
  return share;
}

/** It listens: those that are started from now on know where. */
export function tellListening(address: string, where: string): void {
  const taken = readTaken(process.env[VARIABLE]);
  if (taken !== undefined) writeTaken({ ...taken, listen: { ...taken.listen, [address]: where } });
}

function isAnyPort(address: string): boolean {
  return /:0$/.test(address);
}

function writeTaken(taken: Taken): void {
  process.env[VARIABLE] = JSON.stringify(taken);
}

/** Undefined where nobody above has taken anything, or it has ended. */
function readTaken(text: string | undefined): Taken | undefined {
  if (text === undefined) return undefined;
  let taken: Partial<Taken> | null;
  try {
    taken = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { pid, listen, identity } = taken ?? {};
  if (typeof pid !== 'number' || typeof listen !== 'object' || !isAlive(pid)) return undefined;
  return { pid, listen, identity };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
