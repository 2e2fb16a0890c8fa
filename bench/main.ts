/** `npm run bench`: runs the benchmark that is named, or all of them one after the other. */
import { Command } from 'commander'
import { errorText } from '../migration/errors.ts'
import type { Benchmark } from './benchmark.ts'
import { cutover } from './cutover/cutover.ts'
import { load } from './load/load.ts'
import { replicate } from './replicate/replicate.ts'

const BENCHMARKS: Benchmark[] = [replicate, load, cutover]

const interrupt = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    // The second one is for somebody who does not want to wait; the servers end with the process.
    if (interrupt.signal.aborted) process.exit(130)
    process.stderr.write('\nStopping ...\n')
    interrupt.abort()
  })
}

async function run(chosen: { benchmark: Benchmark; command: Command }[], json: boolean): Promise<void> {
  const results: { benchmark: string; ok: boolean }[] = []
  for (const { benchmark, command } of chosen) {
    const name = command.name()
    try {
      const { result, lines } = await benchmark.run(command, {
        signal: interrupt.signal,
        say: (text) => process.stderr.write(`${text}\n`),
      })
      results.push(result)
      for (const line of lines) console.log(line)
    } catch (error) {
      if (interrupt.signal.aborted) {
        console.error('The benchmark was interrupted; everything is stopped.')
        // 128 + SIGINT, as a shell says it.
        process.exitCode = 130
        return
      }
      console.error(`The benchmark ${name} failed: ${errorText(error)}`)
      if (error instanceof Error && error.stack !== undefined) console.error(error.stack)
      results.push({ benchmark: name, ok: false })
    }
  }
  if (json) console.log(JSON.stringify(results.length === 1 ? results[0] : results))
  process.exitCode = results.every(({ ok }) => ok) ? 0 : 1
}

const program = new Command('npm run bench --')
  .description('Compares pgflex with its peers on the same servers and the same data.')
  // Exit code 2 is a mistake in usage everywhere in pgflex.
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
  .allowExcessArguments(false)
  .option('--json', 'print the results as the last line of stdout', false)
  .action(() =>
    run(
      BENCHMARKS.map((benchmark) => ({ benchmark, command: benchmark.command })),
      program.opts<{ json: boolean }>().json,
    ),
  )
for (const benchmark of BENCHMARKS) {
  const { command } = benchmark
  command
    .allowExcessArguments(false)
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
    .option('--json', 'print the result as the last line of stdout', false)
    .action(() =>
      run([{ benchmark, command }], command.opts<{ json: boolean }>().json || program.opts<{ json: boolean }>().json),
    )
  program.addCommand(command)
}
await program.parseAsync()
