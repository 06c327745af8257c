// The services of this node, spread over shards by a hash of name and port, so that one change re-sends one shard and not
// all of them. Decides what to publish and when; own-records.ts encodes and signs it.

import { type StarlaneError, starlaneError } from '../../errors.js';
import { RecentMap } from '../../util/recent-map.js';
import { type Rate, TokenBucket } from '../../util/token-bucket.js';
import {
  MAX_SHARD_SERVICES,
  MAX_SHARDS,
  type ServiceEntry,
  serviceEntryBytes,
  serviceKey,
  shardOfService,
} from '../../wire/records.js';
import { COALESCE_MS } from './throttle.js';

/** Above this average, or when a shard is too large, the number of shards doubles. */
const MAX_MEAN_SERVICES = 64;
const MAX_BODY_BYTES = 32 * 1024;
/** With the highest number of shards, a shard may fill a record nearly completely. */
const MAX_LAST_BODY_BYTES = 47 * 1024;
/** Two layouts, one before and one after a doubling, stay below what receivers keep of one node. */
const MAX_BYTES = 4 * 1024 * 1024;
/** About what a shard record takes besides its services. */
const RECORD_BYTES = 160;
/** Below what receivers allow, in records and in bytes. */
const RATE: Rate = { perS: 9, burst: 1_800 };
const BYTE_RATE: Rate = { perS: 3_600, burst: 2 * MAX_BYTES };
/** While the budget covers this many publications of all shards, changes wait for the shortest time; below it, longer. */
const AMPLE_ROUNDS = 40;
const MAX_PAUSE_MS = 2_000;
/** A node that outgrows a layout this soon is still filling up: it gets four times as many shards, since each layout re-sends all. */
const SOON_MS = 10_000;

interface OwnService {
  readonly key: string;
  readonly entry: ServiceEntry;
  readonly bytes: number;
}

interface Slice {
  readonly services: Map<string, OwnService>;
  bytes: number;
  /** What was published of it last; undefined when nothing was. */
  published: readonly OwnService[] | undefined;
  publishedMs: number;
}

export interface ShardContent {
  readonly shard: number;
  readonly shards: number;
  readonly services: readonly ServiceEntry[];
}

export class OwnShards {
  /** Empty before the first service. */
  private slices: Slice[] = [];
  /** Shards that are to be published, and from when on. */
  private readonly due = new Map<number, number>();
  /** The earliest of these times. */
  private soonestMs = Number.POSITIVE_INFINITY;
  private grownMs = Number.NEGATIVE_INFINITY;
  private readonly services = new Map<string, OwnService>();
  /** Services that come and go too often, and until when they are withheld; ordered by that time. */
  private readonly withheld = new Map<string, { readonly service: OwnService; readonly untilMs: number }>();
  private bytes = 0;
  private readonly flaps = new ServiceFlaps();
  private readonly bucket = new TokenBucket(RATE);
  private readonly byteBucket = new TokenBucket(BYTE_RATE);

  constructor(
    private readonly maxServices: number,
    /** Called with a service that is not published. */
    private readonly onUnpublished: (error: StarlaneError) => void,
  ) {}

  /** @throws ERR_STARLANE_MESSAGE when the service fits no record */
  bind(entry: ServiceEntry, now: number): void {
    const key = serviceKey(entry.service, entry.port);
    const service: OwnService = { key, entry, bytes: serviceEntryBytes(entry) };
    this.remove(key, now);
    if (this.services.size + this.withheld.size >= this.maxServices || this.bytes + service.bytes > MAX_BYTES) {
      this.onUnpublished(
        starlaneError('ERR_STARLANE_SERVICE_LIMIT', `${key} is more than other nodes accept from this one`),
      );
      return;
    }
    const untilMs = this.flaps.onBind(key, now);
    if (untilMs > now) this.withheld.set(key, { service, untilMs });
    else this.add(service, now);
  }

  unbind(service: string, port: number, now: number): void {
    this.remove(serviceKey(service, port), now);
  }

  /** Schedules every shard for publication. */
  renew(now: number): void {
    for (const [shard, slice] of this.slices.entries()) {
      slice.published = undefined;
      this.due.set(shard, now);
      this.soonestMs = now;
    }
  }

  /** Makes all pending shards due at once. */
  hurry(now: number): void {
    for (const shard of this.due.keys()) {
      this.due.set(shard, now);
      this.soonestMs = now;
    }
  }

  /** Returns when a shard is due; Infinity when none is. Called for every bind, so it does not look at the shards. */
  dueAt(now: number): number {
    let dueMs = this.soonestMs;
    if (dueMs < Number.POSITIVE_INFINITY) {
      dueMs = Math.max(dueMs, now + this.bucket.waitMs(now), now + this.byteBucket.waitMs(now));
    }
    for (const { untilMs } of this.withheld.values()) return Math.min(dueMs, untilMs);
    return dueMs;
  }

  /** Returns the next shard to publish, and counts it as published. */
  next(now: number): ShardContent | undefined {
    this.release(now);
    if (this.soonestMs > now) return undefined;
    // Only when a shard is due: a program that binds thousands at once gets one layout for all of them.
    this.grow(now);
    let soonestMs = Number.POSITIVE_INFINITY;
    for (const [shard, atMs] of this.due) {
      if (atMs > now) {
        soonestMs = Math.min(soonestMs, atMs);
        continue;
      }
      if (!this.bucket.canTake(now) || !this.byteBucket.canTake(now)) return undefined;
      this.due.delete(shard);
      const slice = this.slices[shard];
      const services = this.fitting(slice);
      if (isSame(services, slice.published)) continue;
      this.bucket.take(now);
      slice.published = services;
      slice.publishedMs = now;
      this.byteBucket.take(now, slice.bytes + RECORD_BYTES);
      return { shard, shards: this.slices.length, services: services.map(({ entry }) => entry) };
    }
    this.soonestMs = soonestMs;
    return undefined;
  }

  private add(service: OwnService, now: number): void {
    if (this.slices.length === 0) this.slices = [emptySlice()];
    this.services.set(service.key, service);
    this.bytes += service.bytes;
    this.touch(this.place(service), now);
  }

  private remove(key: string, now: number): void {
    this.withheld.delete(key);
    const service = this.services.get(key);
    if (service === undefined) return;
    this.services.delete(key);
    this.bytes -= service.bytes;
    const shard = this.shardOf(service);
    this.slices[shard].services.delete(key);
    this.slices[shard].bytes -= service.bytes;
    this.touch(shard, now);
  }

  private touch(shard: number, now: number): void {
    if (this.due.has(shard)) return;
    // The first of several changes leaves with the others of this turn, the later ones together.
    const dueMs = Math.max(now + 1, this.slices[shard].publishedMs + this.pauseMs(now));
    this.due.set(shard, dueMs);
    this.soonestMs = Math.min(this.soonestMs, dueMs);
  }

  /** Longer pauses while tokens are few: a storm that used up the burst would delay its last changes for long. */
  private pauseMs(now: number): number {
    const rounds = this.bucket.left(now) / this.slices.length;
    return Math.min(COALESCE_MS * Math.max(1, AMPLE_ROUNDS / rounds), MAX_PAUSE_MS);
  }

  /** Adds services that were withheld for long enough. */
  private release(now: number): void {
    for (const [key, { service, untilMs }] of this.withheld) {
      if (untilMs > now) return;
      this.withheld.delete(key);
      this.add(service, now - COALESCE_MS);
    }
  }

  /** Doubles the number of shards as often as needed. It never halves: that would re-send everything as well. */
  private grow(now: number): void {
    const before = this.slices.length;
    if (before === 0) return;
    let shards = before;
    while (shards < MAX_SHARDS && this.isCrowded()) {
      const factor = shards === before && now - this.grownMs < SOON_MS ? 4 : 2;
      shards = Math.min(factor * shards, MAX_SHARDS);
      this.slices = Array.from({ length: shards }, emptySlice);
      for (const service of this.services.values()) this.place(service);
    }
    if (shards === before) return;
    this.grownMs = now;
    this.renew(now);
  }

  private isCrowded(): boolean {
    if (this.services.size > MAX_MEAN_SERVICES * this.slices.length) return true;
    return this.slices.some((slice) => slice.bytes > MAX_BODY_BYTES || slice.services.size > MAX_SHARD_SERVICES);
  }

  private place(service: OwnService): number {
    const shard = this.shardOf(service);
    const slice = this.slices[shard];
    slice.services.set(service.key, service);
    slice.bytes += service.bytes;
    return shard;
  }

  private shardOf({ entry }: OwnService): number {
    return shardOfService(entry.service, entry.port, this.slices.length);
  }

  /** Returns the services that fit a record: all of them, unless their names were chosen to collide. */
  private fitting(slice: Slice): OwnService[] {
    const fitting: OwnService[] = [];
    let bytes = 0;
    for (const service of slice.services.values()) {
      bytes += service.bytes;
      if (bytes > MAX_LAST_BODY_BYTES || fitting.length === MAX_SHARD_SERVICES) {
        this.onUnpublished(starlaneError('ERR_STARLANE_SERVICE_LIMIT', `${service.key} does not fit its shard`));
        break;
      }
      fitting.push(service);
    }
    return fitting;
  }
}

function emptySlice(): Slice {
  return { services: new Map(), bytes: 0, published: undefined, publishedMs: Number.NEGATIVE_INFINITY };
}

function isSame(services: readonly OwnService[], published: readonly OwnService[] | undefined): boolean {
  if (published === undefined || services.length !== published.length) return false;
  const known = new Set(published);
  return services.every((service) => known.has(service));
}

const WINDOW_MS = 60_000;
const MAX_RETURNS = 6;
const WITHHOLD_MS = 60_000;
/** Only the services that were bound last are watched. */
const MAX_WATCHED = 4_096;

/** Finds services that come and go all the time, so that they are withheld for a while. Pure. */
export class ServiceFlaps {
  /** When each service was bound, within the last minute. */
  private readonly binds = new RecentMap<string, number[]>(MAX_WATCHED);

  /** Returns until when a service that is bound now is withheld; 0 when it is not. */
  onBind(key: string, now: number): number {
    const recent = (this.binds.peek(key) ?? []).filter((at) => now - at < WINDOW_MS);
    recent.push(now);
    // The first bind is no return.
    const isTooMuch = recent.length > MAX_RETURNS + 1;
    if (isTooMuch) recent.shift();
    this.binds.set(key, recent);
    return isTooMuch ? now + WITHHOLD_MS : 0;
  }
}
