// A program whose bundle has the preload in it: a host of the overlay has an address that the DNS was not asked for.

import { lookup } from 'node:dns';
import 'starlane/register';

lookup('web.starlane', (error, address) => {
  console.log(JSON.stringify([error, address.replace(/\.\d+\.\d+$/, '')]));
  process.exit();
});
