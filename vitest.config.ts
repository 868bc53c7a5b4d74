import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    testTimeout: 30_000,
    // Two workers are what the smallest supported machine has cores for.
    maxWorkers: 2,
  },
});
