// What the entry points of the package export, as JSON: for each entry the exported names, with the public members of those
// that have any. Members that come from Node or TypeScript are left out, and so are private, protected and @internal ones.
// Uses a TypeScript that is a library (before 7).
//
// node api-inventory.mjs COMPILER ENTRY...

import { createRequire } from 'node:module';
import { relative, resolve, sep } from 'node:path';

const [compiler, ...entries] = process.argv.slice(2);
const ts = createRequire(import.meta.url)(compiler);
const LIB = resolve('lib') + sep;
const { Private, Protected } = ts.ModifierFlags;

const program = ts.createProgram(entries, {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
  types: ['node'],
  strict: true,
  skipLibCheck: true,
  noEmit: true,
});
const checker = program.getTypeChecker();

/** Whether a user sees a declaration. */
function isPublic(declaration) {
  if ((ts.getCombinedModifierFlags(declaration) & (Private | Protected)) !== 0) return false;
  return !ts.getJSDocTags(declaration).some((tag) => tag.tagName.text === 'internal');
}

/** Names of the public members that are declared in lib. */
function membersOf(type) {
  const names = [];
  for (const property of checker.getPropertiesOfType(type)) {
    const declarations = (property.declarations ?? []).filter(({ parent }) => {
      const file = parent?.getSourceFile().fileName;
      return file !== undefined && resolve(file).startsWith(LIB);
    });
    if (!declarations.some(isPublic)) continue;
    const { name } = declarations[0];
    // Members under symbols of the library's own are internal; those under symbols of the language are not.
    const isSymbol = name !== undefined && ts.isComputedPropertyName(name);
    const text = isSymbol ? name.getText() : property.name;
    if (text.startsWith('_') || text.startsWith('#') || (isSymbol && !text.startsWith('[Symbol.'))) continue;
    names.push(text);
  }
  return names.sort();
}

function describe(symbol) {
  const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  const { Class, Interface, TypeAlias, Function: Func, Enum } = ts.SymbolFlags;
  const [declaration] = target.declarations;
  const where = relative('.', declaration.getSourceFile().fileName);
  if (target.flags & (Class | Interface)) {
    return {
      kind: target.flags & Class ? 'class' : 'interface',
      where,
      members: membersOf(checker.getDeclaredTypeOfSymbol(target)),
    };
  }
  if (target.flags & Enum) return { kind: 'enum', where, members: [...target.exports.keys()].sort() };
  if (target.flags & TypeAlias) {
    const type = checker.getDeclaredTypeOfSymbol(target);
    const isObject = (type.flags & (ts.TypeFlags.Object | ts.TypeFlags.Intersection)) !== 0;
    const isCall = checker.getSignaturesOfType(type, ts.SignatureKind.Call).length > 0;
    return { kind: isCall ? 'function type' : 'type', where, members: isObject && !isCall ? membersOf(type) : [] };
  }
  return { kind: target.flags & Func ? 'function' : 'value', where, members: [] };
}

const inventory = {};
for (const entry of entries) {
  const module = checker.getSymbolAtLocation(program.getSourceFile(entry));
  const names = checker.getExportsOfModule(module).sort((one, other) => (one.name < other.name ? -1 : 1));
  inventory[entry] = Object.fromEntries(names.map((symbol) => [symbol.name, describe(symbol)]));
}
console.log(JSON.stringify({ inventory, node: nodeMembers() }));

/** Members of Node's classes that a class here has as well: Socket and Server those of `node:net`, Stream those of a Duplex. */
function nodeMembers() {
  const module = checker.getAmbientModules().find(({ name }) => name === '"net"');
  const classes = {};
  for (const symbol of checker.getExportsOfModule(module)) {
    if (symbol.name !== 'Socket' && symbol.name !== 'Server') continue;
    const type = checker.getDeclaredTypeOfSymbol(symbol);
    classes[symbol.name] = namesOf(type);
    if (symbol.name === 'Socket') classes.Stream = checker.getBaseTypes(type).flatMap(namesOf);
  }
  return classes;
}

/** TypeScript names a member under a symbol of the language `__@asyncDispose@` and a number. */
function namesOf(type) {
  return checker.getPropertiesOfType(type).map(({ name }) => name.replace(/^__@(\w+)@\d+$/, '[Symbol.$1]'));
}
