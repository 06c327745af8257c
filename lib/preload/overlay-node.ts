// The node of a program under the preload. It starts with its first use, so that programs that do not use the overlay, such as `npm` in
// the same environment, do not join it. A node that listens for links, or has a role other than client, starts at once.
//
// A program that only dials is a client. A program that offers a service is a server that does not relay. STARLANE_ROLE and
// STARLANE_RELAY change that.
//
// A program hands its environment, and so the preload, on to its worker threads, its forks and other child processes. Only one process of
// such a family can listen at an address or have an identity: the first one does, and the others join it.

import cluster from 'node:cluster';
import type { Server as NodeServer } from 'node:net';
import { isMainThread } from 'node:worker_threads';
import { parseLinkAddress } from '../address.js';
import { codeOf, optionError } from '../errors.js';
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
  /** The role in the environment; undefined where the program decides. */
  private readonly role: NodeRole | undefined;
  private readonly share: Share;
  private readonly unheard = new UnheardFaults(() => sharedTimers.now());
  /** The node that the program dials with. */
  private node: Node;
  private offering: Node | undefined;

  /** @throws ERR_STARLANE_OPTION, ERR_STARLANE_ADDRESS and others for what is wrong with the environment */
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

  /** Returns the node that offers services, started. From now on the program also dials with it, as it knows them first. */
  private offer(): Node {
    if (this.offering !== undefined) return this.offering;
    withoutContext(() => {
      // A client that was used stays, for its sockets.
      if (this.role === undefined) this.node = this.watched(this.node.server());
      this.node.start();
      for (const address of this.share.listen) this.listen(this.node, address);
    });
    this.offering = this.node;
    return this.node;
  }

  /** Makes permanent faults at the start end the process, like any uncaught error. */
  private watched(node: Node): Node {
    const onWarning = (error: Error): void => {
      if (isPermanent(error) && codeOf(error) !== 'ERR_STARLANE_SELF_LINK') throwLater(error);
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
        // A program that has nothing else to do ends.
        listener.unref();
        publishListening(address, listener.address);
      },
      (error) => {
        if (codeOf(error) !== 'EADDRINUSE' || !this.share.isPart) throwLater(error);
        else node.join(address).catch((reason) => this.unheard.report(reason));
      },
    );
  }
}

/** Makes faults that would appear with the first use appear at the start. */
function checkAddresses(variable: string, addresses: readonly string[], hasTls: boolean): void {
  for (const address of addresses) {
    const { scheme } = parseLinkAddress(address);
    if (scheme === 'tls' && !hasTls) throw optionError(variable, `${address} needs a secret or certificates`);
  }
}

/** The variable by which a process lets its children know what it has taken. */
const VARIABLE = 'STARLANE_PRELOADED';

interface Taken {
  readonly pid: number;
  /** Where the process listens, by the address in STARLANE_LISTEN: it differs when the port was 0. */
  readonly listen: Record<string, string>;
  readonly identity: string | undefined;
}

interface Share {
  /** The addresses to listen at. */
  readonly listen: readonly string[];
  /** The addresses at which a process of the same family listens. */
  readonly join: readonly string[];
  readonly identity: string | undefined;
  /** Whether an address that is in use may belong to a process of the same family, and is joined then. */
  readonly isPart: boolean;
}

/** Returns what is left for this process of what its environment has. */
function takeShare(listen: readonly string[], identity: string | undefined): Share {
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
  // The children of this process belong to the same family.
  if (above === undefined || own.length > 0) {
    const listening = { ...above?.listen, ...Object.fromEntries(own.map((address) => [address, address])) };
    writeTaken({ pid: process.pid, listen: listening, identity: above?.identity ?? identity });
  }
  return share;
}

/** Called when this process listens, so that later children know where. */
function publishListening(address: string, where: string): void {
  const taken = readTaken(process.env[VARIABLE]);
  if (taken !== undefined) writeTaken({ ...taken, listen: { ...taken.listen, [address]: where } });
}

function isAnyPort(address: string): boolean {
  return /:0$/.test(address);
}

function writeTaken(taken: Taken): void {
  process.env[VARIABLE] = JSON.stringify(taken);
}

/** Returns undefined when no ancestor has taken anything, or when it has ended. */
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
    return codeOf(error) === 'EPERM';
  }
}
