/** The local host: runs the app's functions on this machine. See `options.ts` for how it is started. */
import { startLocalHost } from './local-host.ts'
import { readOptions, usage } from './options.ts'
import { errorMessage, errorStack } from './sanitize.ts'
import { StartupError } from './startup-error.ts'

// A reader of our output that goes away is no reason to stop.
process.stdout.on('error', () => {})
process.stderr.on('error', () => {})

try {
  const options = readOptions(process.argv.slice(2), process.env)
  if (options === 'help') process.stdout.write(usage)
  else await run(options)
} catch (error) {
  const known = error instanceof StartupError
  console.error(`pgflex: ${known ? errorMessage(error) : errorStack(error)}`)
  process.exit(known ? error.exitCode : 1)
}

async function run(options: Exclude<ReturnType<typeof readOptions>, 'help'>): Promise<void> {
  const host = await startLocalHost(options)
  let stoppingSince: number | undefined
  const stop = (signal: NodeJS.Signals) => {
    // Ctrl-C under npm arrives twice, from the terminal and from npm. A later one is meant: somebody won't wait.
    if (stoppingSince !== undefined) {
      if (Date.now() - stoppingSince > 1_000) process.exit(1)
      return
    }
    stoppingSince = Date.now()
    void host.stop(signal).then(
      () => process.exit(0),
      (error: unknown) => {
        console.error(`pgflex: ${errorStack(error)}`)
        process.exit(1)
      },
    )
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  // Last: whoever reads this line may stop us at once.
  console.log(`pgflex is ready: ${host.url}/#key=${encodeURIComponent(host.key)}`)
}
