// Which of Node's test files do not apply to a virtual network, and why. Each file has the first reason that fits.

/**
 * @typedef {object} Exclusion
 * @property {string} reason
 * @property {RegExp} [source] in the text of the file
 * @property {RegExp} [name] in its name
 */

/** @type {readonly Exclusion[]} */
export const EXCLUSIONS = [
  {
    reason: "reaches into Node's internals (--expose-internals, process.binding, internal/...)",
    source: /--expose[-_]internals|internalBinding|process\.binding|require\('internal\//,
  },
  {
    reason: 'needs a handle or file descriptor of the system',
    source: /\b_handle\b|\b_parent\b|\bfd:|\.fd\b|new (TCP|Pipe|TTY)\b|\bhandle\.(close|fd|onread)/,
  },
  { reason: 'needs a socket in the file system or a pipe', source: /common\.PIPE|hasMultiLocalhost|\\\\\?\\pipe/ },
  {
    reason: 'needs another process, a worker or the openssl command, which are not on the overlay',
    source: /child_process|require\('cluster'\)|worker_threads|opensslCli|common\.spawnPromisified|new Worker\b/,
  },
  {
    reason: 'is about the DNS, lookups, or the addresses and address families of the machine',
    source: /\.hasIPv6|ipv6Only|require\('dns'\)/,
    name: /autoselectfamily|dns|lookup|ipv6|address-family|localaddress|localport|local-error|hints|ip-address-host/,
  },
  {
    reason:
      'reads what the system or the inspector counts (async_hooks handles, perf_hooks, trace events, process._getActiveHandles)',
    source: /_getActiveHandles|getActiveResourcesInfo|PerformanceObserver|trace_events|inspector|createHook/,
  },
  { reason: 'watches what the garbage collector takes', source: /common\/gc/ },
  { reason: 'is an ES module, whose imports this bench does not replace', name: /\.mjs$/ },
];

/**
 * @param {string} name
 * @param {string} text
 * @returns {string | undefined} the reason, if the test is excluded
 */
export function exclusionOf(name, text) {
  return EXCLUSIONS.find(({ source, name: ofName }) => source?.test(text) || ofName?.test(name))?.reason;
}
