// The relay between the processes of a case, in a process of its own: it says its address.

import { createNode } from '../../dist/index.js';

const { address } = await createNode({ role: 'server' }).listenAndServe('tcp://127.0.0.1:0');
process.send?.(address);
process.on('disconnect', () => process.exit(0));
