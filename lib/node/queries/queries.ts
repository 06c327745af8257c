// The queries of one node: what answers them, the port at which other nodes ask, and the events of the node for those who follow them.

import { QUERY_PORT } from '../../circuit/bindings.js';
import type { Circuits } from '../../circuit/circuits.js';
import { kRemote } from '../../mux/hidden.js';
import type { RemoteEndpoint } from '../../socket/endpoints.js';
import type { Socket } from '../../socket/socket.js';
import { type QueryHandler, queryHandler, type RightsOf } from './api.js';
import { Bulk } from './bulk.js';
import { EventReaders, type NodeEvent } from './events.js';
import { HopMeter } from './hop.js';
import { MAX_CONNECTIONS, QueryPort } from './port.js';
import { Readiness } from './ready.js';
import { askNeighbour } from './request.js';
import { QueryRights } from './rights.js';
import type { QuerySources } from './sources.js';
import { StreamWatch } from './streams.js';

export class Queries {
  readonly meter: HopMeter;
  private readonly rights: QueryRights;
  private readonly readers: EventReaders;
  private readonly bulk = new Bulk();
  private readonly followers = new Set<(event: NodeEvent) => void>();
  private readonly closers = new Set<() => void>();
  private readonly parts: Parameters<typeof queryHandler>[0];
  private readonly port: QueryPort | undefined;

  constructor(readonly sources: QuerySources) {
    const { circuits, timers, options } = sources;
    this.rights = new QueryRights(sources);
    this.meter = new HopMeter(sources);
    this.readers = new EventReaders(sources);
    const readiness = new Readiness(sources, this.meter, (link, timeoutMs) =>
      askNeighbour(sources, link.peerId, timeoutMs),
    );
    this.parts = {
      sources,
      meter: this.meter,
      readers: this.readers,
      bulk: this.bulk,
      readiness,
      streams: new StreamWatch(sources),
    };
    if (options.queries !== false) this.port = this.serve(circuits, timers);
  }

  /**
   * Returns a handler of HTTP requests that answers them. `rightsOf`: what the one who makes a request may ask for. Default: everything,
   * for callers that have shown who they are in another way.
   */
  handler(rightsOf: RightsOf = () => this.rights.own): QueryHandler {
    return queryHandler(this.parts, rightsOf);
  }

  /** How many follow the events. */
  get readerCount(): number {
    return this.readers.size;
  }

  publish(event: NodeEvent): void {
    this.readers.publish(event);
    for (const listener of this.followers) listener(event);
  }

  /**
   * Calls back with each event, within this process. Unlike a listener of the node it does not keep warnings that nobody listens to from
   * being printed. Returns a function that ends it.
   */
  follow(listener: (event: NodeEvent) => void): () => void {
    this.followers.add(listener);
    return () => this.followers.delete(listener);
  }

  /** Called when the node begins to drain: no connection of a caller must keep it from its end. */
  drain(): void {
    this.publish({ name: 'drain' });
    this.readers.end();
    this.bulk.end();
    this.port?.drain();
  }

  /** Calls back, within this process, when the node begins to close. Returns a function that ends it. */
  beforeClose(listener: () => void): () => void {
    this.closers.add(listener);
    return () => this.closers.delete(listener);
  }

  close(): void {
    for (const listener of [...this.closers]) listener();
    this.readers.end();
    this.bulk.end();
    this.port?.close();
  }

  private serve(circuits: Circuits, timers: QuerySources['timers']): QueryPort {
    const handler = this.handler((request) => {
      const socket = request.socket as unknown as Socket;
      return this.rights.of(socket[kRemote] as RemoteEndpoint);
    });
    const port = new QueryPort(timers, handler);
    circuits.serve(QUERY_PORT, MAX_CONNECTIONS, (socket) => port.onSocket(socket));
    return port;
  }
}

/**
 * Returns a handler of HTTP requests that answers the queries of a node: for `node:http`, a control socket, or the monitor. By default its
 * callers may ask for everything.
 */
export function createApi(node: { readonly queries: Queries }, rightsOf?: RightsOf): QueryHandler {
  return node.queries.handler(rightsOf);
}
