// Circuits that speak HTTP/1.1, kept for the next request to the same service.
//
// An idle circuit is closed before the server at its end would close it, so that a request never meets a server that is just hanging up.
// None serves for longer than a minute: new instances get their share, and one client that asks again and again is not bound to one.

import type { DialOptions } from '../../../circuit/options.js';
import type { ServiceInfo } from '../../../mesh/directory/service.js';
import type { Node } from '../../../node/node.js';
import { clearTimeout, dateNow, setTimeout } from '../../../util/runtime/real-timers.js';
import { type CircuitOwner, Http1Circuit } from './http1-circuit.js';
import type { ServiceDial } from './outbound.js';

/** The default of servers of Node is 5 s, of others longer. */
const IDLE_MS = 4_000;
/** Before the time that the server says. */
const IDLE_MARGIN_MS = 1_000;
const SWEEP_MS = 1_000;
const MAX_AGE_MS = 60_000;
/** For one service. */
const MAX_IDLE = 512;

export class Http1Pool implements CircuitOwner {
  private readonly idle = new Map<string, Http1Circuit[]>();
  private readonly all = new Set<Http1Circuit>();
  private sweep: NodeJS.Timeout | undefined;
  private isClosed = false;
  private readonly onRemove = (info: ServiceInfo): void => this.forget(info);

  constructor(private readonly node: Node) {
    node.serviceMap().on('remove', this.onRemove);
  }

  /** Circuits open, idle ones included. */
  get size(): number {
    return this.all.size;
  }

  /** Returns an idle circuit; undefined where there is none. */
  take(dial: ServiceDial): Http1Circuit | undefined {
    const list = this.idle.get(dial.address);
    if (list === undefined) return undefined;
    for (let index = 0; index < list.length; ) {
      const circuit = list[index];
      if (circuit.isUsable && !isAt(circuit, dial.instance)) {
        index++;
        continue;
      }
      list.splice(index, 1);
      if (circuit.isUsable) {
        circuit.socket.ref();
        return circuit;
      }
      circuit.retire();
    }
    return undefined;
  }

  /** Dials a new circuit. @throws what `node.dial` throws */
  dial(dial: ServiceDial): Http1Circuit {
    const { address, timeoutMs, selector, secure } = dial;
    const options: DialOptions = { timeoutMs, selector, secure, allowHalfOpen: true };
    const circuit = new Http1Circuit(address, this.node.dial(address, options), this);
    this.all.add(circuit);
    return circuit;
  }

  onFree(circuit: Http1Circuit): void {
    const now = dateNow();
    const { keepAliveS } = circuit;
    const idleMs = keepAliveS === undefined ? IDLE_MS : Math.min(keepAliveS * 1_000 - IDLE_MARGIN_MS, MAX_AGE_MS);
    let list = this.idle.get(circuit.key);
    if (list === undefined) {
      list = [];
      this.idle.set(circuit.key, list);
    }
    if (this.isClosed || idleMs <= 0 || now - circuit.sinceMs > MAX_AGE_MS || list.length >= MAX_IDLE) {
      circuit.retire();
      return;
    }
    circuit.idleUntilMs = now + idleMs;
    circuit.socket.unref();
    // First in, first out: the instances behind the circuits take turns.
    list.push(circuit);
    this.sweep ??= setTimeout(() => this.onSweep(), SWEEP_MS).unref();
  }

  onGone(circuit: Http1Circuit): void {
    this.all.delete(circuit);
    const list = this.idle.get(circuit.key);
    const index = list?.indexOf(circuit) ?? -1;
    if (index >= 0) list?.splice(index, 1);
    if (list?.length === 0) this.idle.delete(circuit.key);
  }

  close(): void {
    this.isClosed = true;
    this.node.serviceMap().off('remove', this.onRemove);
    clearTimeout(this.sweep);
    for (const circuit of this.all) circuit.retire();
  }

  /** An instance is gone, or its node lets nothing new in: idle circuits must not keep it from ending. */
  private forget({ nodeId, service }: ServiceInfo): void {
    for (const circuit of this.all) {
      const { key } = circuit;
      if (circuit.nodeId === nodeId && (key === service || key.startsWith(`${service}:`))) circuit.retire();
    }
  }

  private onSweep(): void {
    this.sweep = undefined;
    const now = dateNow();
    for (const list of [...this.idle.values()]) {
      for (const circuit of [...list]) {
        if (circuit.idleUntilMs <= now) circuit.retire();
      }
    }
    if (this.idle.size > 0) this.sweep = setTimeout(() => this.onSweep(), SWEEP_MS).unref();
  }
}

function isAt({ nodeId, port }: Http1Circuit, instance: ServiceDial['instance']): boolean {
  return instance === undefined || (nodeId === instance.nodeId && (port === instance.port || instance.port === 0));
}
