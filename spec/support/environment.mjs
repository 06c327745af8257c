// The environment of spec files: Node's, in a worker that ends as soon as it has nothing left to do.
//
// Jest gives a worker half a second to end, and says otherwise that it "has failed to exit gracefully". A worker that has run
// many files has no handle open by then, but V8 takes longer than that to take down the heaps of their contexts.

import { TestEnvironment } from 'jest-environment-node';

if (process.send !== undefined) process.once('beforeExit', (code) => process.exit(code));

export default TestEnvironment;
