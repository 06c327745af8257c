import { starlaneWay } from './starlane-way.mjs';

/** Through three relays, one beside the client and two beside the server. */
export const carrier = starlaneWay('relays-3', { relays: ['a', 'b', 'b'] });
