// The order of spec files: without figures of an earlier run jest takes the largest files first, and the longest of all, a table of
// cases in a small file, would run alone at the end.

const { default: Sequencer } = require('@jest/test-sequencer');

const LONGEST = [
  'parity/relays.long',
  'scenario/mesh-processes.long',
  'parity/parity',
  'fuzz/fuzz',
  'interop/hashicorp-yamux',
  'package/declarations',
  'package/bundle',
  'simulation/faults',
  'simulation/trial',
  'scenario/churn.long',
  'scenario/hostile-link.long',
  'scenario/hostile-member.long',
  'preload/register',
];

module.exports = class extends Sequencer {
  sort(tests) {
    const rank = ({ path }) => {
      const index = LONGEST.findIndex((name) => path.endsWith(`${name}.spec.ts`));
      return index < 0 ? LONGEST.length : index;
    };
    return super.sort(tests).sort((one, other) => rank(one) - rank(other));
  }
};
