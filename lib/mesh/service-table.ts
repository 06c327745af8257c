// Instances by name and port, found, added and removed in constant time. Only a table: who puts something in, and why, is
// not its affair.

import type { ServiceInstance } from './service.js';

const NONE: readonly ServiceInstance[] = Object.freeze([]);

interface Entry {
  /** Every instance of the name. */
  readonly all: ServiceInstance[];
  /** Those that answer for any port. */
  readonly anyPort: ServiceInstance[];
  readonly byPort: Map<number, ServiceInstance[]>;
}

export class ServiceTable {
  private readonly entries = new Map<string, Entry>();
  private count = 0;

  /** How many instances there are. */
  get size(): number {
    return this.count;
  }

  /** Instances of a service that answer for `port`, or of any port. Not to be changed, or kept beyond this turn. */
  find(service: string, port?: number): readonly ServiceInstance[] {
    const entry = this.entries.get(service);
    if (entry === undefined) return NONE;
    if (port === undefined) return entry.all;
    const exact = entry.byPort.get(port);
    if (exact === undefined) return entry.anyPort;
    return entry.anyPort.length === 0 ? exact : exact.concat(entry.anyPort);
  }

  add(instance: ServiceInstance): void {
    let entry = this.entries.get(instance.service);
    if (entry === undefined) {
      entry = { all: [], anyPort: [], byPort: new Map() };
      this.entries.set(instance.service, entry);
    }
    instance.slot = entry.all.push(instance) - 1;
    this.count++;
    if (instance.port === 0) {
      instance.portSlot = entry.anyPort.push(instance) - 1;
      return;
    }
    let list = entry.byPort.get(instance.port);
    if (list === undefined) {
      list = [];
      entry.byPort.set(instance.port, list);
    }
    instance.portSlot = list.push(instance) - 1;
  }

  delete(instance: ServiceInstance): void {
    const { service, port } = instance;
    const entry = this.entries.get(service);
    if (entry?.all[instance.slot] !== instance) return;
    this.count--;
    takeOut(entry.all, instance.slot).slot = instance.slot;
    if (entry.all.length === 0) this.entries.delete(service);
    else if (port === 0) takeOut(entry.anyPort, instance.portSlot).portSlot = instance.portSlot;
    else {
      const list = entry.byPort.get(port) as ServiceInstance[];
      takeOut(list, instance.portSlot).portSlot = instance.portSlot;
      if (list.length === 0) entry.byPort.delete(port);
    }
    instance.slot = -1;
  }

  /** Every instance. */
  *values(): IterableIterator<ServiceInstance> {
    for (const { all } of this.entries.values()) yield* all;
  }

  names(): IterableIterator<string> {
    return this.entries.keys();
  }

  has(service: string): boolean {
    return this.entries.has(service);
  }

  /** How many names there are. */
  get nameCount(): number {
    return this.entries.size;
  }
}

/** The order does not matter, so the last one takes the place. Returns who stands there now. */
function takeOut(list: ServiceInstance[], slot: number): ServiceInstance {
  const last = list.pop() as ServiceInstance;
  if (slot < list.length) list[slot] = last;
  return last;
}
