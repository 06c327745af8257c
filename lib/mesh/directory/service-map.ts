// The live view of the service directory for users.

import { EventEmitter } from 'node:events';
import { INSPECT, type Inspect, type InspectOptions, shownMap } from '../../util/runtime/shown.js';
import { throwLater } from '../../util/runtime/throw-later.js';
import type { ServiceInfo } from './service.js';
import type { ServiceTable } from './service-table.js';

export interface ServiceMapEvents {
  add: [service: ServiceInfo];
  remove: [service: ServiceInfo];
}

/** Names and their current instances. Reads like a Map; its values are snapshots. */
export class ServiceMap extends EventEmitter<ServiceMapEvents> implements Iterable<[string, ServiceInfo[]]> {
  /** @internal */
  constructor(private readonly table: ServiceTable) {
    super();
    // One view for each node, on which any number of parts of a program may listen.
    this.setMaxListeners(0);
  }

  /** The number of names. */
  get size(): number {
    return this.table.nameCount;
  }

  has(service: string): boolean {
    return this.table.has(service);
  }

  /** Returns the instances of a service; an empty list when there are none. */
  get(service: string): ServiceInfo[] {
    return this.table.find(service).map((instance) => instance.snapshot());
  }

  keys(): IterableIterator<string> {
    return this.table.names();
  }

  *values(): IterableIterator<ServiceInfo[]> {
    for (const service of this.table.names()) yield this.get(service);
  }

  *entries(): IterableIterator<[string, ServiceInfo[]]> {
    for (const service of this.table.names()) yield [service, this.get(service)];
  }

  /** @internal What console.log() prints. */
  [INSPECT](depth: number | null, options: InspectOptions, inspect: Inspect): string {
    return shownMap('ServiceMap', this, depth, options, inspect);
  }

  /** @internal Emits an event. An error of a listener is thrown later, so that it does not reach the link that caused the event. */
  emitSafely(event: 'add' | 'remove', service: ServiceInfo): void {
    try {
      this.emit(event, service);
    } catch (error) {
      throwLater(error);
    }
  }

  [Symbol.iterator](): IterableIterator<[string, ServiceInfo[]]> {
    return this.entries();
  }
}
