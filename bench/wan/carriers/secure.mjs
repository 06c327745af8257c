import { starlaneWay } from './starlane-way.mjs';

/** Through a relay beside the server that can read nothing: TLS on both links, and encryption from end to end. */
export const carrier = starlaneWay('secure', { relays: ['b'], isSecret: true });
