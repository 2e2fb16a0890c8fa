import { app } from '@azure/functions'
import * as df from 'durable-functions'
import { crashOnce, mark, marks, passGate } from '../marks.ts'

let draining = false
app.hook.appTerminate(() => {
  draining = true
  mark('terminate hook')
})

df.app.activity('mark', {
  handler: ({ text }: { text: string }) => {
    mark(text)
    return { text }
  },
})

/** Waits for the test; ends early when the host shuts down, if told to. */
df.app.activity('gate', {
  handler: async ({ gate, endsEarly = false }: { gate: string; endsEarly?: boolean }, context) => {
    mark(`gate ${gate} of ${String(context.triggerMetadata?.['instanceId'])}`)
    await passGate(gate, () => endsEarly && draining)
    mark(`passed ${gate}`)
    return { gate, endedEarly: draining }
  },
})

df.app.activity('fail', {
  handler: ({ message }: { message: string }): never => {
    throw new Error(message)
  },
})

/** Fails as often as it is told to, then succeeds. */
df.app.activity('flaky', {
  handler: ({ name, failures }: { name: string; failures: number }) => {
    mark(`try ${name}`)
    const tries = marks().filter((line) => line === `try ${name}`).length
    if (tries <= failures) throw new Error(`${name} failed (${tries})`)
    return { name, tries }
  },
})

df.app.activity('crashOnce', {
  handler: ({ place }: { place: string }) => {
    crashOnce(place)
    return { survived: place }
  },
})

df.app.activity('inspect', { handler: (input: unknown) => ({ type: typeof input, value: input ?? 'nothing' }) })
df.app.activity('nothing', { handler: () => undefined })
df.app.activity('text', { handler: () => 'plain text' })
