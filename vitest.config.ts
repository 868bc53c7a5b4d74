import path from 'node:path';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    testTimeout: 30_000,
    // Not the user's own identity; made by the first program that runs.
    env: { VITRINE_STATE_DIR: path.join(import.meta.dirname, '.cache', 'test-state') },
    // Two workers are what the smallest supported machine has cores for.
    maxWorkers: 2,
  },
});
