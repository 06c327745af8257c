/**
 * What a case needs from a way to ask and answer. The answer is always what was asked.
 *
 * @typedef {(request: Uint8Array) => Promise<Uint8Array>} Ask
 *
 * @typedef {object} Program a process in the middle
 * @property {any} address for both ends
 * @property {() => Promise<void>} stop
 *
 * @typedef {object} RequestCarrier
 * @property {string} name
 * @property {() => Promise<Program>} [startMiddle] starts what stands between the ends
 * @property {(middle: any) => Promise<any>} serve answers; resolves with an address that can be sent as JSON
 * @property {(address: any) => Promise<Ask>} link connects to that address; resolves with what asks
 */

export {};
