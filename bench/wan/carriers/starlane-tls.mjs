import { starlaneWay } from './starlane-way.mjs';

/** One link with TLS, between members of a network with a secret. */
export const carrier = starlaneWay('starlane-tls', { isSecret: true });
