/** `npm run demo`: see options.ts for what can be asked, run-demo.ts for what it does. */
import { errorText } from '../migration/errors.ts'
import { readOptions } from './options.ts'
import { runDemo } from './run-demo.ts'
import { summaryLines, type DemoResult } from './summary.ts'

const options = readOptions(process.argv.slice(2))
const interrupt = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    // The second one is for somebody who does not want to wait; the servers end with the process.
    if (interrupt.signal.aborted) process.exit(130)
    process.stderr.write('\nStopping ...\n')
    interrupt.abort()
  })
}

let result: DemoResult | undefined
let failure: string | undefined
try {
  await runDemo(options, interrupt.signal, (reported) => {
    result = reported
    for (const line of summaryLines(reported, options.keep)) console.log(line)
    if (!options.keep) return
    // With --keep the result is wanted before the end.
    if (options.json) console.log(JSON.stringify(reported))
  })
} catch (error) {
  failure = interrupt.signal.aborted ? 'The demo was interrupted; everything is stopped.' : errorText(error)
  console.error(`\n${failure}`)
}
if (options.json && !(options.keep && result)) console.log(JSON.stringify(result ?? { ok: false, error: failure }))
// 128 + SIGINT, as a shell says it.
const interrupted = interrupt.signal.aborted && result === undefined
process.exitCode = interrupted ? 130 : result?.ok === true && failure === undefined ? 0 : 1
