import { cases as bulk } from './bulk.mjs';
import { cases as echo } from './echo.mjs';
import { cases as idle } from './idle.mjs';
import { cases as open } from './open.mjs';

/** All cases in the order they are run and reported. @type {any[]} */
export const CASES = [...bulk, ...echo, ...open, ...idle];
