/**
 * What a case needs from a way to carry streams. The user code of a case is the same for every carrier.
 *
 * @typedef {import('node:stream').Duplex} Duplex
 * @typedef {(socket: Duplex) => void} OnConnection
 * @typedef {OnConnection | import('node:http').Server} Service an HTTP server only where the carrier has `http`
 *
 * @typedef {object} HttpEnd
 * @property {string} origin of the URLs that lead to the service `web`
 * @property {import('node:http').Agent} agent
 * @property {any} connect option of undici's Agent
 *
 * @typedef {object} Carrier
 * @property {string} name
 * @property {string | undefined} connectEvent what a dialled stream emits once the other end has it; undefined: nothing
 * @property {(services: Record<string, Service>, host?: string) => Promise<any>} serve offers the services, at `host` or else
 *   at 127.0.0.1; resolves with an address that can be sent as JSON
 * @property {(address: any) => Promise<(service: string) => Duplex>} link connects to that address; resolves with a
 *   function that opens a stream to a service
 * @property {(address: any) => Promise<HttpEnd>} [http] called after `link`
 */

/**
 * @param {string} url of a module that exports `carrier`
 * @returns {Promise<Carrier>}
 */
export async function loadCarrier(url) {
  return (await import(url)).carrier;
}
