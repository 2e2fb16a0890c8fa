import { app } from '@azure/functions'

app.http('same', { handler: () => ({ body: 'first' }) })
app.http('same', { handler: () => ({ body: 'second' }) })
