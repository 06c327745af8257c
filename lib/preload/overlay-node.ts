// The node of a program under the preload. It starts with its first use, so that a program that has nothing to do with the
// overlay is no member of it: `npm`, and whatever else runs in the same environment. One that is to listen for links, or to have
// a part in the network, starts at once.
//
// A program that only dials is a client. One that offers a service has to be known to others: it is a server that passes
// nothing on. STARLANE_ROLE and STARLANE_RELAY say otherwise.

import type { Server as NodeServer } from 'node:net';
import { parseLinkAddress } from '../address.js';
import { optionError } from '../errors.js';
import { isPermanent } from '../link/handshake/handshake.js';
import { readEnvironment } from '../node/environment.js';
import { createNodeIn, type Node } from '../node/node.js';
import type { NodeOptions, NodeRole } from '../options/options.js';
import type { NetModule } from '../socket/net/module.js';
import type { Server } from '../socket/server.js';
import { withoutContext } from '../util/runtime/no-context.js';
import { throwLater } from '../util/runtime/throw-later.js';
import { sharedTimers } from '../util/timers.js';
import { UnheardFaults } from '../util/unheard-faults.js';
import { type Share, takeShare, tellListening } from './process-family.js';

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
      throw optionError('STARLANE_JOIN', 'the address of a node is needed, as in tcp://127.0.0.1:10000');
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
