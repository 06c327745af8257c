// Which spec files a command runs. `npm test`: all that are not long. `npm run test:rest`: the long ones. `npm run test:unit`: one
// layer at a time, without whole nodes and other processes. `npm run test:all`: everything.

const { readFileSync } = require('node:fs');
const { relative, sep } = require('node:path');

/** Folders of specs that need other programs, a build, or minutes. Elsewhere a spec file of more than 5 s is a `.long.spec.ts`. */
const LONG_FOLDERS = [
  'cli',
  'clients',
  'fuzz',
  'http/gateway',
  'http/metrics',
  'http/monitor',
  'interop',
  'network',
  'package',
  'simulation',
];

/** Layers whose specs are quick, and need nothing but Node. */
const UNIT_FOLDERS = ['access', 'identity', 'mesh', 'mux', 'options', 'util', 'wire'];

/** Imports by which a spec gets whole nodes, or a separate process. */
const BEYOND_UNITS = /from '[./]+(lib\/index|support\/(built-lib|child|testnet))\.js'/;

/** The folders below `spec`, and the name. */
function partsOf(path) {
  return relative(`${__dirname}/..`, path).split(sep);
}

function isLong(path) {
  const place = `${partsOf(path).join('/')}/`;
  return LONG_FOLDERS.some((folder) => place.startsWith(`${folder}/`)) || path.endsWith('.long.spec.ts');
}

function isUnit(path) {
  const parts = partsOf(path);
  const isThere = parts.length === 1 || UNIT_FOLDERS.includes(parts[0]);
  return isThere && !isLong(path) && !BEYOND_UNITS.test(readFileSync(path, 'utf8'));
}

/**
 * A filter for jest. Without a match it keeps all files: `npm test -- clients/pg` names a file explicitly.
 */
function only(isChosen) {
  return (paths) => {
    const chosen = paths.filter(isChosen);
    return { filtered: chosen.length > 0 ? chosen : paths };
  };
}

module.exports = { isLong, isUnit, only };
