// Requests and replies of 1 KiB.

import { callCase } from '../calling.mjs';

export const benchCase = callCase('call-1k', 1_024);
