// Requests and replies of 16 bytes.

import { callCase } from '../calling.mjs';

export const benchCase = callCase('call-16', 16);
