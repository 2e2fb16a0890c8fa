const { app } = require('@azure/functions')

const hooks = []
app.hook.appStart(() => void hooks.push('start'))
app.hook.preInvocation((context) => void hooks.push(`before ${context.invocationContext.functionName}`))

app.http('hello', {
  methods: ['GET'],
  handler: () => ({
    jsonBody: {
      runtime: process.env.FUNCTIONS_WORKER_RUNTIME,
      one: process.env.SETTING_ONE,
      two: process.env.SETTING_TWO,
      home: process.env.PGFLEX_HOME,
      hostname: process.env.WEBSITE_HOSTNAME,
      hooks,
    },
  }),
})
