// The fuzzer of bench/fuzz, on its corpus and as many more inputs as a run of the specs has time for. The
// same ones in every run; `npm run fuzz` tries others, by the million.

import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { format, readCorpus } from '../../bench/fuzz/corpus.js';
import { Fuzzer } from '../../bench/fuzz/fuzzer.js';
import { runTarget, sharesOf } from '../../bench/fuzz/run.js';
import { type LivingTarget, must, type PureTarget } from '../../bench/fuzz/target.js';
import { TARGETS } from '../../bench/fuzz/targets/index.js';
import { Random } from '../../bench/simulation/random.js';

const INPUTS = 80_000;
const STRANGE = ['token', 'enrolment', 'certificates', 'statements'];
const CORPUS = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'bench', 'fuzz', 'corpus');

describe('Any input of a peer causes only errors with a code, and leaves nothing behind:', () => {
  it.each(sharesOf(TARGETS, INPUTS).map(([target, count]) => [target.name, target, count] as const))(
    '%s',
    async (_name, target, count) => {
      const { failure, inputs, ways } = await runTarget(target, count, { seed: 1, corpus: CORPUS });
      const report = failure === undefined ? undefined : `${failure.error.stack}\n${format(failure.parts)}`;
      expect(report).toBeUndefined();
      expect(inputs).toBe(count);
      expect(ways).toBeGreaterThan(10);
    },
    120_000,
  );

  /** What strangers can send, or make a person paste. */
  it.each(TARGETS.filter(({ name }) => STRANGE.includes(name)).map((target) => [target.name, target] as const))(
    '%s, a hundred thousand times',
    async (_name, target) => {
      const { failure, inputs } = await runTarget(target, 100_000, { seed: 2, corpus: CORPUS });
      expect(failure === undefined ? undefined : `${failure.error.stack}\n${format(failure.parts)}`).toBeUndefined();
      expect(inputs).toBe(100_000);
    },
    300_000,
  );

  it('the corpus has inputs of every target', () => {
    for (const { name } of TARGETS) expect([name, readCorpus(CORPUS, name).length > 0]).toEqual([name, true]);
  });
});

describe('The fuzzer', () => {
  /** Fails when a part names `constructor` behind a byte that is not zero. */
  const planted: PureTarget = {
    name: 'planted',
    share: 1,
    generate: (random) => [random.bytes(20), random.bytes(20)],
    run(parts) {
      for (const part of parts) must(part.indexOf('constructor') <= 0, 'a planted fault');
      return [`${parts.length}`];
    },
  };

  it('finds a fault, and the shortest input that shows it', async () => {
    const fuzzer = new Fuzzer(planted, new Random(1), []);
    await fuzzer.run(20_000);
    expect(fuzzer.failure?.error.message).toBe('a planted fault');
    expect(fuzzer.failure?.parts.map((part) => part.toString('latin1'))).toEqual(['\0constructor']);
    expect(fuzzer.inputs).toBeLessThan(20_000);
  });

  it('finds an input that never ends, and one that throws in a later tick', async () => {
    const living = (advance: (parts: readonly Buffer[]) => boolean): LivingTarget => ({
      name: 'planted',
      share: 1,
      generate: planted.generate,
      start: (parts) => ({ advance: () => advance(parts), finish: () => [`${parts.length}`] }),
    });
    const isBad = (parts: readonly Buffer[]): boolean => parts.some((part) => part.includes('constructor'));
    const endless = new Fuzzer(
      living((parts) => !isBad(parts)),
      new Random(1),
      [[Buffer.from('constructor')]],
    );
    await endless.run(100);
    expect(endless.failure?.error.message).toContain('not done after');

    const late = new Fuzzer(
      living((parts) => {
        if (isBad(parts)) process.nextTick(() => must(false, 'a late fault'));
        return true;
      }),
      new Random(1),
      [[Buffer.from('x')], [Buffer.from('constructor')]],
    );
    await late.run(100);
    expect(late.failure?.error.message).toBe('a late fault');
    expect(late.failure?.parts).toEqual([Buffer.from('constructor')]);
  });

  it('tries the same inputs again for the same seed, and other ones for another', async () => {
    const tried = async (seed: number): Promise<string> => {
      const inputs: string[] = [];
      const fuzzer = new Fuzzer(TARGETS[0], new Random(seed), [], (batch) => inputs.push(...batch.map(format)));
      await fuzzer.run(1_000);
      return inputs.join('\n');
    };
    expect(await tried(3)).toBe(await tried(3));
    expect(await tried(3)).not.toBe(await tried(4));
  });
});
