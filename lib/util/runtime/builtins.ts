// Modules of Node that only some programs need, loaded when they do. An import of node:tls alone takes longer and keeps more
// memory than that of node:net, as it also reads every certificate authority that Node trusts. Not by createRequire(import.meta.url),
// which a program that is bundled as CommonJS does not have.

/** Returns the module node:tls. */
export function nodeTls(): typeof import('node:tls') {
  return process.getBuiltinModule('node:tls');
}

/** Returns the module node:http. */
export function nodeHttp(): typeof import('node:http') {
  return process.getBuiltinModule('node:http');
}

/** Returns the module node:dns/promises. */
export function nodeDns(): typeof import('node:dns/promises') {
  return process.getBuiltinModule('node:dns/promises');
}

/** Returns the module node:zlib. */
export function nodeZlib(): typeof import('node:zlib') {
  return process.getBuiltinModule('node:zlib');
}

/** Returns the module node:util. Importing it also loads its parsers of arguments and of MIME types. */
export function nodeUtil(): typeof import('node:util') {
  return process.getBuiltinModule('node:util');
}

/** Returns the module node:crypto, for what only some versions of Node have in it: an import by name would fail. */
export function nodeCrypto(): typeof import('node:crypto') {
  return process.getBuiltinModule('node:crypto');
}

/** Returns the module node:os. */
export function nodeOs(): typeof import('node:os') {
  return process.getBuiltinModule('node:os');
}

/**
 * Returns the live list of the built-in modules that the process has loaded. Through node:vm, as `process` may be a copy that
 * is older: jest gives one to each file.
 */
export function loadedModules(): readonly string[] {
  return process.getBuiltinModule('node:vm').runInThisContext('process.moduleLoadList') ?? [];
}
