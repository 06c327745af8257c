// The program of bench:import: imports what its argument says, and prints how long that took and the heap after it.

/** @type {Record<string, () => Promise<unknown>>} */
const imports = {
  'an empty program': async () => {},
  'node:http': () => import('node:http'),
  starlane: () => import('../../dist/index.js'),
  'starlane, createNode()': async () => (await import('../../dist/index.js')).createNode(),
  'starlane/mux': () => import('../../dist/mux/index.js'),
  'starlane/http': () => import('../../dist/http/index.js'),
};

const begin = process.hrtime();
// Kept until the heap has been measured.
const kept = await imports[process.argv[2]]();
const [seconds, nanoseconds] = process.hrtime(begin);
/** @type {() => void} */ (globalThis.gc)();
/** @type {() => void} */ (globalThis.gc)();
const { heapUsed } = process.memoryUsage();
const mib = heapUsed / (1024 * 1024);
console.log(JSON.stringify({ ms: seconds * 1e3 + nanoseconds / 1e6, mib, isKept: kept !== undefined }));
