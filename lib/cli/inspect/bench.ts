// starlane bench

import { createInterface } from 'node:readline';
import { type Context, defineCommand } from '../command.js';
import type { BenchResult, Step } from '../control/measure.js';
import { receivedError } from '../control/wire.js';
import { ExitCode, Failure } from '../failure.js';
import { flag } from '../flags.js';
import { bytes, ms, withAsker } from './ask.js';

const BAR = 30;
const PARTS = { dials: 'dials', echoes: 'round trips', bulk: 'bulk' } as const;

export const bench = defineCommand({
  name: 'bench',
  summary: 'measure how fast a service or a node is reached',
  description: 'Bulk comes from the node of the service, or with --echo through the service.',
  args: [{ name: 'TARGET', about: 'a service, the name of a member, or @id' }],
  usesNode: true,
  flags: {
    duration: flag.duration('the time for each of the three parts', { otherwise: '3s', min: 100, max: 600_000 }),
    streams: flag.integer('how many streams bring bulk at a time', { otherwise: '1', min: 1, max: 1_000 }),
    echo: flag.boolean('the service sends back what it gets: measure through it', { inFile: false }),
  },
  examples: [
    { line: 'starlane bench web', about: 'dials, round trips, and bytes a second' },
    { line: 'starlane bench echo --echo --streams 8 --json', about: 'through an echo service, for programs' },
  ],
  async run(context, [target], { duration = 3_000, streams = 1, echo = false }) {
    const query = new URLSearchParams({
      target,
      duration: String(duration),
      streams: String(streams),
      echo: String(echo),
    });
    const result = await withAsker(context, async ({ client }) => {
      const response = await client.open({ path: `/control/bench?${query}` });
      const lines = createInterface({ input: response });
      const end = () => {
        response.destroy();
        // It would wait for an end of its input, which does not come.
        lines.close();
      };
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end);
      let found: BenchResult | undefined;
      for await (const line of lines) {
        const step = JSON.parse(line) as Step | { error: unknown };
        if ('error' in step) throw receivedError(step.error);
        if ('result' in step) found = step.result;
        else progress(context, PARTS[step.part], step.done);
      }
      if (found === undefined) throw new Failure('the measurement was ended');
      return found;
    });
    show(context, result);
    return ExitCode.OK;
  },
});

/** Draws a bar where a person looks. */
function progress({ output }: Context, what: string, done: number): void {
  if (output.isJson || process.stderr.isTTY !== true) return;
  const full = Math.round(done * BAR);
  const bar = `${'#'.repeat(full)}${'.'.repeat(BAR - full)}`;
  process.stderr.write(
    `\r${what.padEnd(12)} ${bar} ${String(Math.round(done * 100)).padStart(3)} %${done === 1 ? '\n' : ''}`,
  );
}

function show({ output }: Context, { target, nodeId, via, dials, idle, loaded, bulk }: BenchResult): void {
  output.json({ target, nodeId, via, dials, idle, loaded, bulk });
  output.line(`${target} at ${nodeId}, ${via.length === 0 ? 'direct' : `via ${via.join(' ')}`}`);
  output.line(
    `dials        ${Math.round(dials.perSecond)} a second one after the other; p50 ${ms(dials.p50Ms)}, p99 ${ms(dials.p99Ms)} ms`,
  );
  const beside = bulk === null ? '' : `; beside bulk p50 ${ms(loaded.p50Ms)}, p99 ${ms(loaded.p99Ms)} ms`;
  output.line(`round trips  p50 ${ms(idle.p50Ms)}, p99 ${ms(idle.p99Ms)} ms${beside}`);
  if (bulk === null) {
    output.line('bulk         not measured: the option queries of the node does not let this one ask; see --echo');
    return;
  }
  const from = bulk.from === 'echo' ? 'through the service' : 'from its node';
  output.line(`bulk         ${bytes(bulk.bytesPerSecond)}/s on ${bulk.streams} streams, ${from}`);
}
