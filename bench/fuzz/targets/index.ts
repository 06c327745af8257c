// All that is fuzzed.

import type { Target } from '../target.js';
import { addresses } from './addresses.js';
import { broadcast } from './broadcast.js';
import { enrolment } from './enrolment.js';
import { frames } from './frames.js';
import { handshake } from './handshake.js';
import { lanes } from './lanes.js';
import { linkTargets } from './link.js';
import { certificates, statements } from './members.js';
import { mesh } from './mesh.js';
import { messages } from './messages.js';
import { node } from './node.js';
import { open, reply } from './open.js';
import { records } from './records.js';
import { secure } from './secure.js';
import { sessionTargets } from './session.js';
import { token } from './token.js';

export const TARGETS: readonly Target[] = [
  frames,
  ...sessionTargets,
  messages,
  records,
  certificates,
  statements,
  ...linkTargets,
  mesh,
  node,
  open,
  reply,
  handshake,
  secure,
  addresses,
  token,
  enrolment,
  lanes,
  broadcast,
];
