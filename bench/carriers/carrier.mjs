/**
 * What a case needs from a way to carry streams. The user code of a case is the same for every carrier.
 *
 * @typedef {import('node:stream').Duplex} Duplex
 * @typedef {(socket: Duplex) => void} OnConnection
 *
 * @typedef {object} Carrier
 * @property {string} name
 * @property {string | undefined} connectEvent what a dialled stream emits once the other end has it; undefined: nothing
 * @property {(services: Record<string, OnConnection>, host?: string) => Promise<any>} serve offers the services, at `host` or
 *   else at 127.0.0.1; resolves with an address that can be sent as JSON
 * @property {(address: any) => Promise<(service: string) => Duplex>} link connects to that address; resolves with a
 *   function that opens a stream to a service
 */

/**
 * @param {string} url of a module that exports `carrier`
 * @returns {Promise<Carrier>}
 */
export async function loadCarrier(url) {
  return (await import(url)).carrier;
}
