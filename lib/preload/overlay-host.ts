// Which hosts of an unchanged program are services: those that end in `.starlane`, in any case and with or without the dot
// of a full domain name. What is before that is the name of the service.

const SUFFIX = /\.starlane\.?$/i;

/** The service that a host means; undefined for every other host, which is none of our business. */
export function overlayService(host: unknown): string | undefined {
  if (typeof host !== 'string' || !SUFFIX.test(host)) return undefined;
  return host.replace(SUFFIX, '');
}
