// Which instances of a service a node may export. What is an export itself is left out: two bridges that export one name in both
// directions would send circuits in circles.

import { isServiceName, parseServiceAddress } from '../../address.js';
import { optionError } from '../../errors.js';
import type { ServiceInfo } from '../../mesh/directory/service.js';

/** The key in the meta of an export by which others know it. */
export const EXPORTED = 'starlane.export';

/** A service as an export names it. */
export interface ExportedName {
  readonly service: string;
  /** Undefined: what is bound by name alone. */
  readonly port: number | undefined;
}

/** Reads `name` or `name:port`. @throws ERR_STARLANE_OPTION */
export function exportedName(option: string, text: unknown): ExportedName {
  const parsed = typeof text === 'string' && text !== '' ? parseServiceAddress(text) : undefined;
  if (parsed?.kind !== 'service' || parsed.port === 0 || !isServiceName(parsed.service)) {
    throw optionError(option, 'must be the name of a service, or name:port');
  }
  return { service: parsed.service, port: parsed.port };
}

/** Returns the text that {@link exportedName} reads. */
export function addressOf({ service, port }: ExportedName): string {
  return port === undefined ? service : `${service}:${port}`;
}

/** Whether an instance is what an export of this name leads to: the same port, and no export. */
export function isOffered({ port }: ExportedName, instance: Pick<ServiceInfo, 'port' | 'meta'>): boolean {
  return (instance.port === 0 || instance.port === port) && !isExport(instance.meta);
}

/** Returns the meta of an export. @throws ERR_STARLANE_OPTION */
export function exportMeta(meta: unknown): Record<string, unknown> {
  if (meta !== undefined && (typeof meta !== 'object' || meta === null || Array.isArray(meta))) {
    throw optionError('meta', 'must be an object');
  }
  return { ...meta, [EXPORTED]: true };
}

function isExport(meta: unknown): boolean {
  return typeof meta === 'object' && meta !== null && Object.hasOwn(meta, EXPORTED);
}
