import { starlaneWay } from './starlane-way.mjs';

/** Through a relay beside the client: the path is between it and the server. */
export const carrier = starlaneWay('relay-client', { relays: ['a'] });
