// The gates, in the order in which they are measured on one network: from what leaves it as it was to what does not.

import { calm } from './calm.js';
import { opens, traffic } from './churn.js';
import { crash, deaths, silence } from './death.js';
import { drain } from './drain.js';
import type { Gate } from './gate.js';
import { lag } from './lag.js';
import { revoke } from './revoke.js';
import { split } from './split.js';
import { spread } from './spread.js';
import { start } from './start.js';

/** Measured only on request: an hour of a thousand nodes takes long. */
export const EXTRA_GATES: readonly Gate[] = [calm];

export const GATES: readonly Gate[] = [
  start,
  spread,
  crash,
  silence,
  traffic,
  lag,
  opens,
  drain,
  split,
  deaths,
  revoke,
];
