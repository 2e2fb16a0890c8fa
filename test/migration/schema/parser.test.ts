import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'

/** Parses, waits until no thread of the process is at work any more, and tells the most memory it has held, MB. */
const PROGRAM = `
  import { readFileSync } from 'node:fs'
  const { loadModule, parseSync } = await import(process.argv[1])
  await loadModule()
  for (let i = 0; i < 50; i++) parseSync('create table a (id int primary key, b text); create index on a (b)')
  for (let quiet = 0; quiet < 3; ) {
    const before = process.cpuUsage()
    await new Promise((resolve) => setTimeout(resolve, 100))
    const { user, system } = process.cpuUsage(before)
    quiet = user + system < 10_000 ? quiet + 1 : 0
  }
  console.log(/^VmHWM:\\s+(\\d+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1'))[1] / 1024)
`

test.runIf(process.platform === 'linux')(
  'the parser does not take hundreds of megabytes to make itself faster',
  () => {
    const parser = import.meta.resolve('../../../migration/schema/parser.ts')
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', PROGRAM, parser], {
      encoding: 'utf8',
      timeout: 30_000,
    })
    expect(stderr).toBe('')
    // 67 MB; 620 MB without the flags.
    expect(Number(stdout)).toBeGreaterThan(0)
    expect(Number(stdout)).toBeLessThan(200)
  },
  40_000,
)

/** Makes objects of which many survive for a while, and tells the room for new ones, MB. */
const NEW_SPACE = `
  const v8 = await import('node:v8')
  const { growHeapFreely } = await import(process.argv[1])
  const room = () => {
    let kept = []
    for (let n = 0; n < 2_000_000; n++) {
      kept.push({ n })
      if (kept.length > 200_000) kept = []
    }
    return v8.getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space').space_size / 1024 ** 2
  }
  const before = room()
  growHeapFreely()
  console.log(JSON.stringify([before, room()]))
`

test('the heap has little room for garbage while schemas are read, and V8s own room when changes are followed', () => {
  const growth = import.meta.resolve('../../../migration/schema/heap-growth.ts')
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', NEW_SPACE, growth], {
    encoding: 'utf8',
    timeout: 30_000,
  })
  expect(stderr).toBe('')
  const [before, after] = JSON.parse(stdout) as [number, number]
  // V8 adds a page or two where it has to.
  expect(before).toBeLessThanOrEqual(8)
  expect(after).toBeGreaterThan(2 * before)
}, 40_000)
