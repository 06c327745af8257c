import { starlaneWay } from './starlane-way.mjs';

/** One plain link from the client to the server. */
export const carrier = starlaneWay('starlane');
