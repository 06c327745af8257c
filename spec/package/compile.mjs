// Compiles files with a TypeScript that is a library (before 7), once for each module resolution that is named, and prints
// what is wrong with them and with the declarations of packages that they import: an array of texts as JSON for each.
// What is wrong with TypeScript's own declarations and with those of Node is left out, and not looked for, as that takes longest.
//
// node compile.mjs COMPILER RESOLUTIONS TARGET FILE...

import { createRequire } from 'node:module';

const [compiler, resolutions, target, ...files] = process.argv.slice(2);
const ts = createRequire(import.meta.url)(compiler);

/** Declarations of TypeScript and of Node are most of what is read, and the same for all. @type {Map<string, unknown>} */
const read = new Map();
const others = /[\\/](typescript[^\\/]*|@types|types-node[^\\/]*|undici-types)[\\/]/;

/** @param {string} resolution */
function compile(resolution) {
  const { options, errors } = ts.convertCompilerOptionsFromJson(
    {
      noEmit: true,
      strict: true,
      exactOptionalPropertyTypes: true,
      skipLibCheck: false,
      target,
      module: resolution === 'bundler' ? 'esnext' : resolution,
      moduleResolution: resolution,
      types: ['node'],
    },
    process.cwd(),
  );
  const host = ts.createCompilerHost(options);
  const { getSourceFile } = host;
  host.getSourceFile = (name, ...rest) => {
    if (!others.test(name)) return getSourceFile(name, ...rest);
    if (!read.has(name)) read.set(name, getSourceFile(name, ...rest));
    return read.get(name);
  };
  const program = ts.createProgram(files, options, host);
  const faults = [...errors, ...program.getOptionsDiagnostics(), ...program.getGlobalDiagnostics()];
  for (const file of program.getSourceFiles()) {
    if (others.test(file.fileName)) continue;
    faults.push(...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file));
  }
  return faults.map(({ file, messageText, start }) => {
    const line = file === undefined ? '' : `${file.fileName}:${file.getLineAndCharacterOfPosition(start).line + 1}: `;
    return line + ts.flattenDiagnosticMessageText(messageText, '\n');
  });
}

console.log(JSON.stringify(resolutions.split(',').map(compile)));
