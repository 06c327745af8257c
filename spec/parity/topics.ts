// The table: every case, by topic.

import { ACCEPTING } from './cases/accepting.js';
import { CONTEXTS } from './cases/contexts.js';
import { COUNTS } from './cases/counts.js';
import { DESTROYING } from './cases/destroying.js';
import { DIALLING } from './cases/dialling.js';
import { ENDING } from './cases/ending.js';
import { EVENTS } from './cases/events.js';
import { EXPORTS } from './cases/exports.js';
import { FAILING } from './cases/failing.js';
import { IDLING } from './cases/idling.js';
import { LISTENING } from './cases/listening.js';
import { LOADS } from './cases/loads.js';
import { OPTIONS } from './cases/options.js';
import { PATHS } from './cases/paths.js';
import { PROCESSES } from './cases/processes.js';
import { READING } from './cases/reading.js';
import { RECONNECTING } from './cases/reconnecting.js';
import { SERVERS } from './cases/servers.js';
import { STATES } from './cases/states.js';
import { WRITING } from './cases/writing.js';
import type { Topic } from './trial.js';

export const TOPICS: readonly Topic[] = [
  EXPORTS,
  DIALLING,
  FAILING,
  LISTENING,
  SERVERS,
  ACCEPTING,
  STATES,
  EVENTS,
  COUNTS,
  WRITING,
  ENDING,
  DESTROYING,
  READING,
  IDLING,
  OPTIONS,
  RECONNECTING,
  PATHS,
  CONTEXTS,
  LOADS,
  PROCESSES,
];
