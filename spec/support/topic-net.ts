// Nodes with topics, linked to each other, for specs of topics.

import { once } from 'node:events';
import { createNode, type Node } from '../../lib/index.js';
import { type Topics, topics } from '../../lib/messages/index.js';
import type { TopicsOptions } from '../../lib/messages/topics/options.js';
import type { NodeOptions } from '../../lib/options/options.js';

export interface TopicNode {
  readonly node: Node;
  readonly bus: Topics;
}

/** A hub with a number of others that are linked to it. */
export class TopicNet {
  readonly members: TopicNode[] = [];
  private address = '';

  static async of(count: number, options: NodeOptions = {}, topicsOptions?: TopicsOptions): Promise<TopicNet> {
    const net = new TopicNet();
    for (let index = 0; index < count; index++) await net.add(options, topicsOptions);
    return net;
  }

  async add(options: NodeOptions = {}, topicsOptions?: TopicsOptions): Promise<TopicNode> {
    const node = createNode({ rejoinMinMs: 20, ...options });
    node.on('warning', () => {});
    if (this.members.length === 0) ({ address: this.address } = await node.listenAndServe('tcp://127.0.0.1:0'));
    else await node.join(this.address);
    const member = { node, bus: topics(node, topicsOptions) };
    this.members.push(member);
    return member;
  }

  async close(): Promise<void> {
    await Promise.all(this.members.map(({ node }) => node.close()));
  }
}

/** Waits until a node knows so many instances of a pattern, those of its own aside. */
export async function known({ node }: TopicNode, pattern: string, count = 1): Promise<void> {
  const service = `topic/${pattern}`;
  for (;;) {
    const instances = node.serviceMap().get(service);
    const remote = instances.filter(({ local }) => !local).length;
    if (remote === count) return;
    await Promise.race([once(node, 'service'), once(node, 'unservice')]);
  }
}

/** Counts, and lets a spec wait for a number. */
export class Tally<Value> {
  readonly values: Value[] = [];
  private readonly waits = new Set<() => void>();

  readonly add = (value: Value): void => {
    this.values.push(value);
    for (const check of this.waits) check();
  };

  /** Resolves with the values when there are `count` of them. */
  reached(count: number): Promise<Value[]> {
    return new Promise((resolve) => {
      const check = (): void => {
        if (this.values.length < count) return;
        this.waits.delete(check);
        resolve(this.values);
      };
      this.waits.add(check);
      check();
    });
  }
}
