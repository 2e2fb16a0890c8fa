import { defineConfig } from 'vitest/config'

// Three projects by cost: pure tests, tests against real PostgreSQL servers (`*.pg.test.ts`), and whole
// migrations through the built local host (`*.e2e.test.ts`). Servers and hosts are heavy: their files run
// a few at a time, so that a machine with 2 cores does not time out for lack of CPU.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/**/*.pg.test.ts', 'test/**/*.e2e.test.ts'],
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'pg',
          include: ['test/**/*.pg.test.ts'],
          maxWorkers: 2,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/**/*.e2e.test.ts'],
          maxWorkers: 1,
          testTimeout: 300_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
})
