// Which hosts of an unchanged program are services: those that end in `.starlane`, in any case and with or without the dot
// of a full domain name. What is before that is the name of the service.
//
// Some programs look a host up first, and connect to the address that they got. A service has none, so each name that is
// looked up gets one that stands for it in this process, from the range of RFC 2544, which no network routes.

const SUFFIX = /\.starlane\.?$/i;

/** 198.18.0.0/15 without its first and last address. */
const FIRST_ADDRESS = ((198 << 24) | (18 << 16)) + 1;
const MAX_ADDRESSES = 2 ** 17 - 2;

const services = new Map<string, string>();
const addresses = new Map<string, string>();

/** The service that a host means; undefined for every other host, which is none of our business. */
export function overlayService(host: unknown): string | undefined {
  if (typeof host !== 'string') return undefined;
  if (SUFFIX.test(host)) return host.replace(SUFFIX, '');
  return services.size === 0 ? undefined : services.get(host.replace(/^::ffff:/i, ''));
}

/** The IPv4 address that stands for a service; undefined when there are no more of them. */
export function standInAddress(service: string): string | undefined {
  const known = addresses.get(service);
  if (known !== undefined) return known;
  if (addresses.size >= MAX_ADDRESSES) return undefined;
  const number = FIRST_ADDRESS + addresses.size;
  const address = [number >>> 24, (number >>> 16) & 255, (number >>> 8) & 255, number & 255].join('.');
  addresses.set(service, address);
  services.set(address, service);
  return address;
}
