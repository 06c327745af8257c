// starlane ping

import { type Context, defineCommand } from '../command.js';
import { ExitCode } from '../failure.js';
import { flag } from '../flags.js';
import { type Asker, ms, withAsker } from './ask.js';

export const ping = defineCommand({
  name: 'ping',
  summary: 'measure the round trip to a node or a service',
  args: [{ name: 'TARGET', about: '@id, the name of a member, or a service' }],
  usesNode: true,
  flags: {
    count: flag.integer('how many round trips', { otherwise: '4', min: 1, max: 1_000_000, short: 'n' }),
    interval: flag.duration('the time between two', { otherwise: '1s', min: 0 }),
  },
  examples: [
    { line: 'starlane ping web', about: 'the nearest instance of a service' },
    { line: 'starlane ping edge-1 --count 100 --interval 100ms --json', about: 'a member, for programs' },
  ],
  async run(context, [target], { count = 4, interval = 1_000 }) {
    return withAsker(context, (asker) => pings(context, asker, target, count, interval));
  },
});

async function pings(
  { output }: Context,
  asker: Asker,
  target: string,
  count: number,
  intervalMs: number,
): Promise<number> {
  const samples: number[] = [];
  let failed = 0;
  let lastError: unknown;
  for (let turn = 0; turn < count; turn++) {
    if (turn > 0) await new Promise((resolve) => setTimeout(resolve, intervalMs));
    try {
      const answer = await asker.ping(target, 1);
      samples.push(answer.minMs);
      output.json(answer);
      const via = answer.via.length === 0 ? 'direct' : `via ${answer.via.join(' ')}`;
      output.line(`${answer.name ?? answer.nodeId} (${answer.nodeId}): ${ms(answer.minMs)} ms, ${via}`);
    } catch (error) {
      // Without an answer so far it may be the target that is wrong; later it is the network.
      if (samples.length === 0) throw error;
      failed++;
      lastError = error;
      output.note(`${target}: ${(error as Error).message}`);
    }
  }
  const mean = samples.reduce((sum, value) => sum + value, 0) / samples.length;
  output.line(
    `${samples.length} answered, ${failed} not; min ${ms(Math.min(...samples))}, mean ${ms(mean)}, max ${ms(Math.max(...samples))} ms`,
  );
  if (failed > 0) output.json({ answered: samples.length, failed, error: String((lastError as Error).message) });
  return failed === 0 ? ExitCode.OK : ExitCode.UNREACHABLE;
}
