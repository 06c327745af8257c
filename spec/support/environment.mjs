// The environment of spec files: Node's, in a worker that ends as soon as it has nothing left to do.
//
// Jest gives a worker half a second to end, and says otherwise that it "has failed to exit gracefully". A worker that has run
// many files has no handle open by then, but V8 takes longer than that to take down the heaps of their contexts.

import { AsyncLocalStorage } from 'node:async_hooks';
import { TestEnvironment } from 'jest-environment-node';

if (process.send !== undefined) process.once('beforeExit', (code) => process.exit(code));

// Each spec file has a storage of jest-circus, which stays enabled behind it: every promise of later files would be looked at once
// for each of them.
const used = new Set();
const { run } = AsyncLocalStorage.prototype;
// One stays enabled, so that the hooks of async_hooks are never switched off between files.
run.call(new AsyncLocalStorage(), undefined, () => {});
AsyncLocalStorage.prototype.run = function (...args) {
  used.add(this);
  return run.apply(this, args);
};

export default class extends TestEnvironment {
  async teardown() {
    await super.teardown();
    for (const storage of used) storage.disable();
    used.clear();
  }
}
