// A program whose bundle has the preload in it: a host of the overlay has an address without a DNS query.

import { lookup } from 'node:dns';
import 'starlane/register';

lookup('web.starlane', (error, address) => {
  console.log(JSON.stringify([error, address.replace(/\.\d+\.\d+$/, '')]));
  process.exit();
});
