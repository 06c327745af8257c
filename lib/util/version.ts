// The version of the package. A constant, as the place of package.json differs between the source and the bundle; a spec compares the two,
// and `npm run release` sets both.

export const VERSION = '0.1.0';
