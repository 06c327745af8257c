/**
 * What the benchmark over a path needs from a way to carry streams.
 *
 * @typedef {import('../../carriers/carrier.mjs').OnConnection} OnConnection
 *
 * @typedef {object} PathCarrier
 * @property {string} name
 * @property {string | undefined} connectEvent as in the carriers of the other benchmarks
 * @property {import('../path.mjs').Side[]} [relays] at which end each relay is, in order from the client's; default none. The
 *   client's end is a, the server's is b
 * @property {(services: Record<string, OnConnection>, host: string) => Promise<any>} serve in the server's process, which has the
 *   address `host`; resolves with an address that can be sent as JSON
 * @property {(host: string, previous: any, served: any) => Promise<any>} [relay] in a process of its own, which has the address
 *   `host`: links to the relay before it, at the address that this one returned, and resolves with an address of its own
 * @property {(address: any) => Promise<void>} [reach] in the server's process: links to the last of the relays
 * @property {(address: any) => Promise<(service: string) => import('node:stream').Duplex>} link in the client's process, with
 *   the address of the first of the relays, or else of the server
 * @property {() => void} [check] in the client's process: throws unless the streams took the way that they should
 */

export {};
