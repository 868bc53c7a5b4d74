import { defineConfig } from 'vitest/config';

// Long runs on request: `npm run soak`.
export default defineConfig({
  test: { include: ['test/soak/**/*.soak.ts'], testTimeout: 3_600_000, fileParallelism: false },
});
