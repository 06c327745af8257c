// What TLS costs: streams over one TLS link of a network with a secret, against a socket of node:tls each. See --help.

import { bench } from '../bench.mjs';
import { CASES } from '../cases/index.mjs';

/** Of each case, by figure; the other figures are shown without one. @type {Record<string, Record<string, number>>} */
const FLOORS = { 'bulk-1': { rate: 0.9 }, 'echo-100': { rate: 3 } };

const names = ['tls', 'starlane'];
const carriers = names.map((name) => ({ name, url: new URL(`./carriers/${name}.mjs`, import.meta.url).href }));
// Neither those of certain carriers, which are HTTP.
const streams = CASES.filter(({ name, carriers }) => name !== 'idle' && carriers === undefined);
const cases = streams.map((benchCase) => ({
  ...benchCase,
  figures: benchCase.figures.map((figure) => {
    const atLeast = FLOORS[benchCase.name]?.[figure.key];
    return { ...figure, floors: atLeast === undefined ? [] : [{ against: 'tls', atLeast }] };
  }),
}));

await bench({ command: 'npm run bench:tls --', carriers, runs: 5, cases, reference: 'tls' }, names);
