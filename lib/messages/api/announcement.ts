// What the directory says of an instance of an API, besides what users add: its version, and a digest of its commands.

import type { ServiceInfo } from '../../mesh/directory/service.js';
import { type Api, apiError } from './definition.js';
import { describeApi, digestOf } from './description.js';

export interface Announcement {
  readonly version: string;
  /** Equal for instances with the same commands: see {@link digestOf}. */
  readonly digest: string;
}

/** Returns the metadata of an instance: those of the user, and the announcement as `api`. @throws ERR_STARLANE_API */
export function metaOf(api: Api, meta: unknown): Readonly<Record<string, unknown>> {
  const announcement: Announcement = { version: api.version, digest: digestOf(describeApi(api)) };
  if (meta === undefined) return { api: announcement };
  if (typeof meta !== 'object' || meta === null || Array.isArray(meta) || Object.hasOwn(meta, 'api')) {
    throw apiError('meta: an object without the key api is needed');
  }
  return { ...meta, api: announcement };
}

/** Returns what an instance announces; undefined if it is no API, or says something else. */
export function announcementOf({ meta }: Pick<ServiceInfo, 'meta'>): Announcement | undefined {
  const { version, digest } = ((meta as { api?: Partial<Announcement> } | null | undefined)?.api ?? {}) as Partial<
    Record<keyof Announcement, unknown>
  >;
  return typeof version === 'string' && typeof digest === 'string' ? { version, digest } : undefined;
}
