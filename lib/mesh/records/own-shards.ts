// The services of this node, spread over shards by a hash of name and port, so that one change re-sends one shard and not
// all of them. Says what is to be told and when; making and signing records of it is another's.

import { type StarlaneError, starlaneError } from '../../errors.js';
import { type Rate, TokenBucket } from '../../util/token-bucket.js';
import {
  encodeServiceEntry,
  MAX_SHARD_SERVICES,
  MAX_SHARDS,
  type ServiceEntry,
  shardOfService,
} from '../../wire/records.js';
import { ServiceFlaps } from './service-flaps.js';
import { COALESCE_MS } from './throttle.js';

/** More than that on average, or a shard that is too large, and there are twice as many shards. */
const MAX_MEAN_SERVICES = 64;
const MAX_BODY_BYTES = 32 * 1024;
/** With as many shards as there may be, a shard may come near to what fits a record. */
const MAX_LAST_BODY_BYTES = 47 * 1024;
/** So that two layouts stay below what receivers keep of one node, one before and one after a doubling. */
const MAX_BYTES = 4 * 1024 * 1024;
/** What a shard takes besides its services, about. */
const RECORD_BYTES = 160;
/** Below what receivers allow, in records and in bytes. */
const RATE: Rate = { perS: 9, burst: 1_800 };
const BYTE_RATE: Rate = { perS: 3_600, burst: 2 * MAX_BYTES };
/** While all shards can be told that many times, one waits for company for the shortest time; then the longer, the fewer. */
const AMPLE_ROUNDS = 40;
const MAX_PAUSE_MS = 2_000;
/** Who outgrows a layout that soon is being filled, and gets four times as many shards at once: each layout costs all of them. */
const SOON_MS = 10_000;

interface OwnService {
  readonly key: string;
  readonly entry: ServiceEntry;
  readonly bytes: number;
}

interface Slice {
  readonly services: Map<string, OwnService>;
  bytes: number;
  /** What has been told of it; undefined: nothing. */
  told: readonly OwnService[] | undefined;
  toldMs: number;
}

export interface ShardContent {
  readonly shard: number;
  readonly shards: number;
  readonly services: readonly ServiceEntry[];
}

export class OwnShards {
  /** None before the first service. */
  private slices: Slice[] = [];
  /** Shards that are to be told, and from when on. */
  private readonly due = new Map<number, number>();
  /** None of them is due before. */
  private soonestMs = Number.POSITIVE_INFINITY;
  private grownMs = Number.NEGATIVE_INFINITY;
  private readonly services = new Map<string, OwnService>();
  /** Services that come and go too often, and until when they are not told, which is in the order in which they came. */
  private readonly withheld = new Map<string, { readonly service: OwnService; readonly untilMs: number }>();
  private bytes = 0;
  private readonly flaps = new ServiceFlaps();
  private readonly bucket = new TokenBucket(RATE);
  private readonly byteBucket = new TokenBucket(BYTE_RATE);

  constructor(
    private readonly maxServices: number,
    /** A service that others will not learn of. */
    private readonly onUntold: (error: StarlaneError) => void,
  ) {}

  /** @throws StarlaneError ERR_STARLANE_MESSAGE when it fits no record */
  bind(entry: ServiceEntry, now: number): void {
    const key = keyOf(entry.service, entry.port);
    const service: OwnService = { key, entry, bytes: encodeServiceEntry(entry).length };
    this.remove(key, now);
    if (this.services.size + this.withheld.size >= this.maxServices || this.bytes + service.bytes > MAX_BYTES) {
      this.onUntold(starlaneError('ERR_STARLANE_SERVICE_LIMIT', `${key} is more than others would take of this node`));
      return;
    }
    const untilMs = this.flaps.onBind(key, now);
    if (untilMs > now) this.withheld.set(key, { service, untilMs });
    else this.add(service, now);
  }

  unbind(service: string, port: number, now: number): void {
    this.remove(keyOf(service, port), now);
  }

  /** Everything is to be told anew. */
  renew(now: number): void {
    for (const [shard, slice] of this.slices.entries()) {
      slice.told = undefined;
      this.due.set(shard, now);
      this.soonestMs = now;
    }
  }

  /** Nobody else is waited for: somebody is about to compare what he knows. */
  hurry(now: number): void {
    for (const shard of this.due.keys()) {
      this.due.set(shard, now);
      this.soonestMs = now;
    }
  }

  /** When there is something to tell; Infinity: there is nothing. Every bind asks, so it looks at no shard. */
  dueAt(now: number): number {
    let dueMs = this.soonestMs;
    if (dueMs < Number.POSITIVE_INFINITY) {
      dueMs = Math.max(dueMs, now + this.bucket.waitMs(now), now + this.byteBucket.waitMs(now));
    }
    for (const { untilMs } of this.withheld.values()) return Math.min(dueMs, untilMs);
    return dueMs;
  }

  /** The next shard to tell, which counts as told then. */
  next(now: number): ShardContent | undefined {
    this.release(now);
    if (this.soonestMs > now) return undefined;
    // Only when there is something to tell: whoever binds thousands at once gets one layout for all of them.
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
      if (isSame(services, slice.told)) continue;
      this.bucket.take(now);
      slice.told = services;
      slice.toldMs = now;
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
    // The first of several changes leaves with what else is done in this turn, the others together.
    const dueMs = Math.max(now + 1, this.slices[shard].toldMs + this.pauseMs(now));
    this.due.set(shard, dueMs);
    this.soonestMs = Math.min(this.soonestMs, dueMs);
  }

  /** A storm of changes that used up the burst would make the last of them wait for long. */
  private pauseMs(now: number): number {
    const rounds = this.bucket.left(now) / this.slices.length;
    return Math.min(COALESCE_MS * Math.max(1, AMPLE_ROUNDS / rounds), MAX_PAUSE_MS);
  }

  /** What was withheld for long enough. */
  private release(now: number): void {
    for (const [key, { service, untilMs }] of this.withheld) {
      if (untilMs > now) return;
      this.withheld.delete(key);
      this.add(service, now - COALESCE_MS);
    }
  }

  /** Doubles the number of shards as often as it takes. It never halves: that would tell everything anew as well. */
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

  /** What fits a record, which is everything unless somebody has chosen the names with care. */
  private fitting(slice: Slice): OwnService[] {
    const fitting: OwnService[] = [];
    let bytes = 0;
    for (const service of slice.services.values()) {
      bytes += service.bytes;
      if (bytes > MAX_LAST_BODY_BYTES || fitting.length === MAX_SHARD_SERVICES) {
        this.onUntold(starlaneError('ERR_STARLANE_SERVICE_LIMIT', `${service.key} does not fit its shard`));
        break;
      }
      fitting.push(service);
    }
    return fitting;
  }
}

function emptySlice(): Slice {
  return { services: new Map(), bytes: 0, told: undefined, toldMs: Number.NEGATIVE_INFINITY };
}

function isSame(services: readonly OwnService[], told: readonly OwnService[] | undefined): boolean {
  if (told === undefined || services.length !== told.length) return false;
  const known = new Set(told);
  return services.every((service) => known.has(service));
}

/** Names hold no colon, so that no two services have the same key. */
function keyOf(service: string, port: number): string {
  return `${service}:${port}`;
}
