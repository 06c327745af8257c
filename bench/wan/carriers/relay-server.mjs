import { starlaneWay } from './starlane-way.mjs';

/** Through a relay beside the server: the path is between it and the client. */
export const carrier = starlaneWay('relay-server', { relays: ['b'] });
