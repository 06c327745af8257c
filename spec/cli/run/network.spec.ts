// From flags to the options of a node.

import { describe, expect, it } from '@jest/globals';
import { chooseNetwork, type NodeValues, nodeOptionsOf } from '../../../lib/cli/run/network.js';

const environment = { STARLANE_HOME: '/nowhere' };
const none = {} as NodeValues;

describe('the options of a node', () => {
  it('follow from flags', () => {
    const values: NodeValues = {
      ...none,
      join: ['tcp://127.0.0.1:1'],
      env: ['blue'],
      role: 'router',
      relay: false,
      insecure: true,
      resilience: ['retry-budget', 'hedge'],
    };
    expect(nodeOptionsOf(chooseNetwork(values, environment), values)).toMatchObject({
      seeds: ['tcp://127.0.0.1:1'],
      env: ['blue'],
      role: 'router',
      relay: false,
      insecure: true,
      resilience: { retryBudget: true, circuitBreaker: undefined, outlierEjection: undefined, hedge: true },
    });
  });

  it('are left to the node where no flag says anything', () => {
    const values = { ...none, insecure: true };
    const options = nodeOptionsOf(chooseNetwork(values, environment), values);
    expect(Object.entries(options).filter(([, value]) => value !== undefined)).toEqual([['insecure', true]]);
  });
});
