export default {
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
  maxWorkers: 2,
  // Modules of one spec file stay in memory behind it, and make every collection of garbage longer: specs ran four times as long.
  workerIdleMemoryLimit: '600MB',
};
