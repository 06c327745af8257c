// Lists of a node that answers anything.

import { describe, expect, it } from '@jest/globals';
import type { Node } from '../../../../lib/node/node.js';
import { findNodes, findServices } from '../../../../lib/node/queries/lists/find.js';

/** Returns a node whose queries are answered by these, one after the other, and then by the last one again. */
function answering(...answers: readonly unknown[]): Node {
  let at = 0;
  return { query: async () => answers[Math.min(at++, answers.length - 1)] } as unknown as Node;
}

async function read(list: AsyncIterable<unknown>): Promise<unknown[]> {
  const read: unknown[] = [];
  for await (const one of list) read.push(one);
  return read;
}

const cursor = (key: string): string => Buffer.from(key).toString('base64url');

describe('a list of another node', () => {
  it('goes on from page to page', async () => {
    const node = answering(
      { services: [1], next: cursor('a') },
      { services: [2], next: cursor('b') },
      { services: [3] },
    );
    expect(await read(findServices(node, '@x'))).toEqual([1, 2, 3]);
  });

  it('ends when it does not go on', async () => {
    for (const next of [cursor('a'), 7, {}]) {
      const node = answering({ services: [], nodes: [], next });
      await expect(read(findServices(node, '@x'))).rejects.toMatchObject({ code: 'ERR_STARLANE_QUERY' });
      await expect(read(findNodes(node, '@x'))).rejects.toMatchObject({ code: 'ERR_STARLANE_QUERY' });
    }
  });

  it('ends when it is none', async () => {
    await expect(read(findServices(answering({}), '@x'))).rejects.toMatchObject({ code: 'ERR_STARLANE_QUERY' });
  });
});
