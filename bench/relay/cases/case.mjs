/**
 * The cases of the relay benchmark are those of the other benchmarks, with a process in between that is measured.
 *
 * @typedef {import('../../cases/case.mjs').Values} Values
 *
 * @typedef {object} RelayedPart
 * @property {boolean} [isOfRelay] there is no such figure where nothing is in between
 * @typedef {import('../../cases/case.mjs').Figure & RelayedPart} RelayFigure
 *
 * @typedef {object} ToldOfRelay
 * @property {(pid: number | undefined, endPids: number[]) => void} [relayedBy] called before the client starts; undefined
 *   when nothing is in between
 * @typedef {import('../../cases/case.mjs').ServerSide & ToldOfRelay} RelayServerSide
 *
 * @typedef {object} WithRelay
 * @property {number | undefined} relayPid
 * @property {number[]} endPids of the client's process and the server's
 * @typedef {import('../../cases/case.mjs').ClientRun & WithRelay} RelayClientRun
 *
 * @typedef {object} Memory
 * @property {number} rss after a forced collection
 * @property {number} heap
 *
 * @typedef {object} RelayedCase
 * @property {RelayFigure[]} figures
 * @property {(run: import('../../cases/case.mjs').ServerRun) => RelayServerSide} server
 * @property {(run: RelayClientRun) => Promise<import('../../cases/case.mjs').ClientSide>} client
 * @property {(run: RelayClientRun) => Promise<void>} [warm] what the client does ahead of the measurement
 * @property {(cold: Memory, warm: Memory, full: Memory, client: Values) => Values} [memory] from what a relay in Node
 *   held before anything was opened, after `warm`, and when all was open
 * @typedef {Omit<import('../../cases/case.mjs').BenchCase, 'figures' | 'server' | 'client'> & RelayedCase} RelayCase
 */

export {};
