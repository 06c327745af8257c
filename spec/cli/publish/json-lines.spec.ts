import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { JsonLines } from '../../../lib/cli/services/publish/json-lines.js';

async function through(chunks: readonly Buffer[]): Promise<{ text: string; stray: string[] }> {
  const stray: string[] = [];
  const lines = new JsonLines((line) => stray.push(line));
  let text = '';
  lines.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
  });
  for (const chunk of chunks) lines.write(chunk);
  await new Promise<void>((resolve) => {
    lines.once('end', () => resolve());
    lines.end();
  });
  return { text, stray };
}

describe('the filter for lines of JSON', () => {
  it('lets objects and arrays pass, and sorts out what a server prints for people', async () => {
    const output = 'Server is ready\n{"jsonrpc":"2.0"}\n\n  [1]\nDebugger attached.\r\n{"id":1}\n';
    expect(await through([Buffer.from(output)])).toEqual({
      text: '{"jsonrpc":"2.0"}\n[1]\n{"id":1}\n',
      stray: ['Server is ready', 'Debugger attached.'],
    });
  });

  it('does the same wherever the output is cut', async () => {
    const line = fc.oneof(fc.constantFrom('{"a":1}', '[2]', 'noise', '', ' {"x":"{"}', '1'), fc.string());
    await fc.assert(
      fc.asyncProperty(fc.array(line), fc.array(fc.nat(9)), async (texts, cuts) => {
        const whole = Buffer.from(texts.join('\n'));
        const chunks: Buffer[] = [];
        let at = 0;
        for (const cut of cuts) {
          chunks.push(whole.subarray(at, at + cut));
          at += cut;
        }
        chunks.push(whole.subarray(at));
        expect(await through(chunks.filter(({ length }) => length > 0))).toEqual(await through([whole]));
      }),
      { numRuns: 200 },
    );
  });

  it('does not keep a long line', async () => {
    const { text, stray } = await through(Array.from({ length: 100 }, () => Buffer.alloc(1_000, 'x')));
    expect([text, stray.map(({ length }) => length)]).toEqual(['', [4_096]]);
  });
});
