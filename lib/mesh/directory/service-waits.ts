// Waits for an instance of a service.

import { parseServiceAddress, splitInstance } from '../../address.js';
import { netError, starlaneError } from '../../errors.js';
import { checkWaitOptions, waitWithin } from '../../util/deadline.js';
import type { Timers } from '../../util/timers.js';
import type { ServiceInfo, ServiceInstance } from './service.js';
import type { ServiceTable } from './service-table.js';

export interface WaitOptions {
  signal?: AbortSignal | undefined;
  /** Milliseconds, from 1; Infinity for no timeout. Default: the node's dialTimeoutMs. */
  timeoutMs?: number | undefined;
}

interface Wait {
  readonly service: string;
  readonly port: number | undefined;
  resolve(info: ServiceInfo): void;
  reject(error: unknown): void;
}

export class ServiceWaits {
  private readonly waits = new Set<Wait>();

  constructor(
    private readonly table: ServiceTable,
    private readonly timers: Timers,
    private readonly defaultTimeoutMs: number,
    /** Whether instances on this node count. */
    private readonly loopback: boolean,
    /** Returns an error that explains why no instance is found. */
    private readonly absenceOf: (service: string, port: number | undefined) => Error,
  ) {}

  /**
   * Returns the first instance of `name` or `name:port` that can be dialled, now or as soon as there is one. `0.kafka` waits for one by its name.
   * @throws ERR_STARLANE_ADDRESS, ERR_STARLANE_OPTION, ENOTFOUND after the timeout, or the reason of the signal
   */
  async waitFor(address: string, options?: WaitOptions): Promise<ServiceInfo> {
    const where = parseServiceAddress(address);
    if (where.kind !== 'service')
      throw starlaneError('ERR_STARLANE_ADDRESS', `${address}: the name of a service is needed`);
    const { signal, timeoutMs = this.defaultTimeoutMs } = checkWaitOptions('waitFor', options);
    signal?.throwIfAborted();
    const { service, port } = where;
    const there = this.table.lookUp(service, port).find((instance) => this.loopback || !instance.local);
    if (there !== undefined) return there.snapshot();

    const late = (): Error =>
      netError('ENOTFOUND', 'waitFor', { address: service, port }, this.absenceOf(service, port));
    return waitWithin<ServiceInfo>(this.timers, { signal, timeoutMs, late }, (resolve, reject) => {
      const wait: Wait = { service, port, resolve, reject };
      this.waits.add(wait);
      return () => this.waits.delete(wait);
    });
  }

  onService(instance: ServiceInstance): void {
    if (this.waits.size === 0 || (instance.local && !this.loopback)) return;
    for (const wait of [...this.waits]) {
      const isAtPort = wait.port === undefined || instance.port === 0 || instance.port === wait.port;
      if (!isAtPort) continue;
      if (wait.service === instance.service || this.isNamed(wait, instance)) wait.resolve(instance.snapshot());
    }
  }

  /** Whether it is the instance that a wait means by its name. */
  private isNamed({ service, port }: Wait, instance: ServiceInstance): boolean {
    const split = instance.instance === undefined ? undefined : splitInstance(service);
    if (split?.service !== instance.service || split.instance !== instance.instance) return false;
    return this.table.lookUp(service, port).includes(instance);
  }

  /** Ends every wait with ECANCELED. */
  close(): void {
    for (const wait of [...this.waits]) wait.reject(netError('ECANCELED', 'waitFor', { address: wait.service }));
  }
}
