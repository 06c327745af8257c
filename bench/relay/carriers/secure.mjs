import { throughNode } from './starlane.mjs';

/** What encryption from end to end costs, beside the same way without it. */
export const carrier = throughNode('secure', { secure: true });
