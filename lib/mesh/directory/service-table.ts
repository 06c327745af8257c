// Instances by name and port, found, added and removed in constant time.

import { splitInstance } from '../../address.js';
import { ServiceInstance } from './service.js';

const NONE: readonly ServiceInstance[] = Object.freeze([]);

/** Several instances of one name. */
interface Entry {
  /** Every instance of the name. */
  readonly all: ServiceInstance[];
  /** Those that answer for any port. */
  readonly anyPort: ServiceInstance[];
  readonly byPort: Map<number, ServiceInstance[]>;
}

export class ServiceTable {
  /** A name with one instance, as most have in a large mesh, maps to the instance: a tenth of the memory of an entry. */
  private readonly entries = new Map<string, ServiceInstance | Entry>();
  private count = 0;

  /** The number of instances. */
  get size(): number {
    return this.count;
  }

  /** Returns the instances of a service that answer for `port`, or of any port. Must not be changed, or kept beyond this turn. */
  find(service: string, port?: number): readonly ServiceInstance[] {
    const entry = this.entries.get(service);
    if (entry === undefined) return NONE;
    if (entry instanceof ServiceInstance) {
      return port === undefined || entry.port === 0 || entry.port === port ? [entry] : NONE;
    }
    if (port === undefined) return entry.all;
    const exact = entry.byPort.get(port);
    if (exact === undefined) return entry.anyPort;
    return entry.anyPort.length === 0 ? exact : exact.concat(entry.anyPort);
  }

  /**
   * As {@link find}, also for `0.kafka`: unless there is a service with that name, the instances of `kafka` that are called `0`. An instance
   * for any port does not answer at a port for which its node has another one.
   */
  lookUp(name: string, port?: number): readonly ServiceInstance[] {
    const found = this.find(name, port);
    if (found.length > 0) return found;
    const split = splitInstance(name);
    if (split === undefined || this.entries.has(name)) return found;
    const all = this.find(split.service, port);
    const named = all.filter(({ instance }) => instance === split.instance);
    if (port === undefined || named.every((one) => one.port !== 0)) return named;
    const exact = new Set(all.filter((one) => one.port !== 0).map(({ nodeId }) => nodeId));
    return named.filter((one) => one.port !== 0 || !exact.has(one.nodeId));
  }

  add(instance: ServiceInstance): void {
    const { service } = instance;
    const known = this.entries.get(service);
    this.count++;
    if (known === undefined) {
      instance.slot = 0;
      this.entries.set(service, instance);
      return;
    }
    if (!(known instanceof ServiceInstance)) {
      putIn(known, instance);
      return;
    }
    const entry: Entry = { all: [], anyPort: [], byPort: new Map() };
    putIn(entry, known);
    putIn(entry, instance);
    this.entries.set(service, entry);
  }

  delete(instance: ServiceInstance): void {
    const { service, port, slot, portSlot } = instance;
    const entry = this.entries.get(service);
    if (entry === undefined || slot < 0) return;
    if (entry instanceof ServiceInstance) {
      if (entry !== instance) return;
      this.entries.delete(service);
    } else {
      if (entry.all[slot] !== instance) return;
      takeOut(entry.all, slot).slot = slot;
      const list = port === 0 ? entry.anyPort : (entry.byPort.get(port) as ServiceInstance[]);
      takeOut(list, portSlot).portSlot = portSlot;
      if (list.length === 0) entry.byPort.delete(port);
      if (entry.all.length === 1) this.entries.set(service, entry.all[0]);
    }
    this.count--;
    instance.slot = -1;
  }

  /** Returns every instance. */
  *values(): IterableIterator<ServiceInstance> {
    for (const entry of this.entries.values()) {
      if (entry instanceof ServiceInstance) yield entry;
      else yield* entry.all;
    }
  }

  names(): IterableIterator<string> {
    return this.entries.keys();
  }

  has(service: string): boolean {
    return this.entries.has(service);
  }

  /** The number of names. */
  get nameCount(): number {
    return this.entries.size;
  }
}

function putIn({ all, anyPort, byPort }: Entry, instance: ServiceInstance): void {
  const { port } = instance;
  instance.slot = all.push(instance) - 1;
  let list = port === 0 ? anyPort : byPort.get(port);
  if (list === undefined) {
    list = [];
    byPort.set(port, list);
  }
  instance.portSlot = list.push(instance) - 1;
}

/** Removes an instance. The order does not matter, so the last one takes its place. Returns the one that is there now. */
function takeOut(list: ServiceInstance[], slot: number): ServiceInstance {
  const last = list.pop() as ServiceInstance;
  if (slot < list.length) list[slot] = last;
  return last;
}
