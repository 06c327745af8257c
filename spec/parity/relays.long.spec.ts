// The same table as in parity.spec.ts, through a relay.

import { RELAY_KINDS } from './carriers.js';
import { describeParity } from './table.js';

describeParity(RELAY_KINDS);
