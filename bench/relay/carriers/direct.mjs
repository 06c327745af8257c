import { carrier as starlane } from '../../carriers/starlane.mjs';

/** Two nodes with a link: what is left of its rate through a relay. @type {import('./carrier.mjs').RelayedCarrier} */
export const carrier = { ...starlane, name: 'direct' };
