// What users of a node see of the mesh: snapshots and live views of services and routes, and waiting for a service.

import type { ControlPlane } from '../mesh/control-plane.js';
import type { ServiceInfo, ServiceInstance } from '../mesh/directory/service.js';
import { ServiceMap } from '../mesh/directory/service-map.js';
import { ServiceWaits, type WaitOptions } from '../mesh/directory/service-waits.js';
import { type RouteInfo, RouteMap } from '../mesh/routing/route-map.js';
import type { ResolvedNodeOptions } from '../options/options.js';
import { sharedTimers } from '../util/timers.js';

export class NodeViews {
  private readonly waits: ServiceWaits;
  private serviceView: ServiceMap | undefined;
  private routeView: RouteMap | undefined;

  constructor(
    private readonly mesh: ControlPlane,
    { dialTimeoutMs, loopback }: ResolvedNodeOptions,
  ) {
    this.waits = new ServiceWaits(mesh.registry.table, sharedTimers, dialTimeoutMs, loopback, (service, port) =>
      mesh.absenceOf(service, port),
    );
  }

  services(): ServiceInfo[] {
    return [...this.mesh.registry.table.values()].map((instance) => instance.snapshot());
  }

  routes(): RouteInfo[] {
    return this.mesh.routing.routes();
  }

  /** One object a node. */
  serviceMap(): ServiceMap {
    this.serviceView ??= new ServiceMap(this.mesh.registry.table);
    return this.serviceView;
  }

  /** One object a node. */
  routesMap(): RouteMap {
    this.routeView ??= new RouteMap(this.mesh.routing);
    return this.routeView;
  }

  waitFor(service: string, options: WaitOptions | undefined): Promise<ServiceInfo> {
    return this.waits.waitFor(service, options);
  }

  /** Nobody waits any more. */
  close(): void {
    this.waits.close();
  }

  // --- what has happened; the events of the node come first ---

  onServiceWaits(instance: ServiceInstance): void {
    this.waits.onService(instance);
  }

  onService(info: ServiceInfo): void {
    this.serviceView?.emitSafely('add', info);
  }

  onUnservice(info: ServiceInfo): void {
    this.serviceView?.emitSafely('remove', info);
  }

  onRoute(route: RouteInfo): void {
    this.routeView?.emitSafely('add', route);
  }

  onUnroute(route: RouteInfo): void {
    this.routeView?.emitSafely('remove', route);
  }
}
