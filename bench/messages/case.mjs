/**
 * A case is one file in `cases`. Parent and children load it: the children run its roles, the parent its rounds.
 *
 * @typedef {object} Bus what a carrier opens in a child
 * @property {string | undefined} address of the hub, for the others
 * @property {(topic: string, onData: (data: Uint8Array) => void, options?: { queue?: string }) => void} subscribe
 * @property {(topic: string, subscribers: number) => Promise<unknown>} ready resolves when so many are known
 * @property {(topic: string, data: Uint8Array, count: number) => Promise<unknown>} pump publishes as fast as it can
 * @property {(topic: string, data: Uint8Array) => unknown} send publishes one
 * @property {(topic: string, handler: (data: Uint8Array) => Uint8Array) => void} answer
 * @property {(topic: string, data: Uint8Array) => Promise<Uint8Array>} request
 * @property {() => Promise<unknown>} [flush]
 * @property {() => Promise<unknown>} close
 *
 * @typedef {Record<string, (...args: any[]) => any>} Methods what the parent can call in a child
 *
 * @typedef {object} Child what a role gets
 * @property {number} index among the processes of the role
 * @property {string} carrier
 * @property {() => Promise<any>} open opens the carrier: a {@link Bus}, or what a carrier of its own returns. Several times: several connections
 * @property {Bus | any} bus the first of them, which is open
 *
 * @typedef {object} MessageCase
 * @property {string} name
 * @property {string} about one line
 * @property {string[]} carriers names of modules in `carriers`
 * @property {import('../report.mjs').RatioOf[]} [ratios] shown besides those of starlane
 * @property {Record<string, number>} processes of each role, in the order in which they start; the first is the hub of carriers without a broker
 * @property {import('../cases/case.mjs').Figure[]} figures
 * @property {Record<string, (child: Child) => Promise<Methods> | Methods>} roles
 * @property {(fleet: import('./fleet.mjs').Fleet, settings: { measureMs: number, isWarmup: boolean }) => Promise<Record<string, number>>} round
 */

export {};
