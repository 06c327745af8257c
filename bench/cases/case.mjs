/**
 * @typedef {import('node:stream').Duplex} Duplex
 *
 * @typedef {object} Settings
 * @property {number} warmupMs
 * @property {number} measureMs
 * @property {boolean} verify check every byte
 * @property {number} heapMib what client and server keep alive besides, in MiB
 * @property {number | undefined} streams override of the number of streams of the idle case
 *
 * @typedef {object} ServerRun
 * @property {Settings} settings
 * @property {(error: Error) => void} fail ends the run
 *
 * @typedef {object} ClientRun
 * @property {Settings} settings
 * @property {string} carrier
 * @property {(service: string) => Duplex} connect
 * @property {string | undefined} connectEvent
 * @property {() => Promise<import('../carriers/carrier.mjs').HttpEnd>} [http] undefined where the carrier has none
 * @property {(error: Error) => void} fail ends the run
 *
 * @typedef {Record<string, number>} Values
 *
 * @typedef {object} ServerSide
 * @property {Record<string, import('../carriers/carrier.mjs').Service>} services
 * @property {(client: Values) => Promise<Values>} finish called with what the client measured, while the client's
 *   process still holds what it opened; throws on a mismatch
 *
 * @typedef {object} ClientSide
 * @property {Values} values
 * @property {() => Promise<void>} [check] called after the server's finish; throws on a mismatch
 *
 * @typedef {object} Floor a limit that the figure must hold
 * @property {string} [of] the carrier that must hold it, default starlane
 * @property {string} [against] the limit is for the ratio to that carrier; otherwise for the figure itself
 * @property {number} [atLeast]
 * @property {number} [atMost]
 * @property {number} [cores] with fewer the figure says little, and the floor is not judged
 *
 * @typedef {object} Figure
 * @property {string} key name in the values that server and client returned
 * @property {string} title with the unit
 * @property {number} digits after the decimal point
 * @property {Floor[]} [floors]
 * @property {boolean} [isAside] shown as the runs go on and kept in JSON, but not in the table
 * @property {boolean} [isAmount] how much was measured, not how well: a ratio means nothing
 *
 * @typedef {object} BenchCase
 * @property {string} name
 * @property {string} about one line
 * @property {number} [defaultRuns] when --runs is not given
 * @property {number} [deadlineMs] for one run, default 60,000
 * @property {string[]} [carriers] the only ones that it is for
 * @property {Figure[]} figures
 * @property {(run: ServerRun) => ServerSide} server
 * @property {(run: ClientRun) => Promise<ClientSide>} client
 */

export {};
