import { availableParallelism } from 'node:os';

export default {
  reporters: ['default', '<rootDir>/spec/support/closing-reporter.cjs'],
  testSequencer: './spec/support/long-first.cjs',
  testEnvironment: '<rootDir>/spec/support/environment.mjs',
  roots: ['<rootDir>/spec'],
  testMatch: ['**/*.spec.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: {
          target: 'es2022',
          parser: { syntax: 'typescript' },
          transform: { useDefineForClassFields: false },
        },
        module: { type: 'es6' },
      },
    ],
  },
  testTimeout: 30_000,
  // Half of a large machine: specs with deadlines or whole processes need free cores.
  maxWorkers: Math.max(2, Math.floor(availableParallelism() / 2)),
  // The modules of a spec file stay in memory after it, and slow down every garbage collection: specs took four times as long.
  workerIdleMemoryLimit: '600MB',
};
