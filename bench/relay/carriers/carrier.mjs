/**
 * What a case needs from a way to carry streams through a process in between.
 *
 * @typedef {import('../../carriers/carrier.mjs').OnConnection} OnConnection
 *
 * @typedef {object} RunningRelay
 * @property {any} address for the client, and for the server's `reach`
 * @property {number} pid
 * @property {Promise<never>} failed rejects when it ends
 * @property {() => Promise<void>} stop
 *
 * @typedef {object} RelayedCarrier
 * @property {string} name
 * @property {string | undefined} connectEvent as in the carriers of the other cases
 * @property {(services: Record<string, OnConnection>) => Promise<any>} serve in the server's process; resolves with an
 *   address that can be sent as JSON
 * @property {(address: any) => Promise<any>} [relay] in a process of its own; resolves with the address for the client
 * @property {(address: any) => Promise<RunningRelay>} [startRelay] in its place, for a relay that is another program.
 *   With neither there is nothing in between
 * @property {(address: any) => Promise<void>} [reach] in the server's process: goes to the relay
 * @property {(address: any) => Promise<(service: string) => import('node:stream').Duplex>} link in the client's process
 * @property {() => void} [check] in the client's process, before what it opened is closed: throws unless the streams
 *   went through the relay
 */

export {};
