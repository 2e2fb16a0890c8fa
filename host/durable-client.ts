/** Where the management API is served, below an origin. */
export const managementPath = '/runtime/webhooks/durabletask'

/** Stands for an instance's id in the URLs of the client binding; must not occur in them otherwise. */
const idPlaceholder = 'INSTANCEID'

/** The addresses with which one instance is managed: part of the client binding, and the answer to its start. */
export function managementUrls(origin: string, hubName: string, key: string, id: string) {
  const instance = `${origin}${managementPath}/instances/${id}`
  const query = requiredQuery(hubName, key)
  return {
    id,
    statusQueryGetUri: `${instance}?${query}`,
    sendEventPostUri: `${instance}/raiseEvent/{eventName}?${query}`,
    terminatePostUri: `${instance}/terminate?reason={text}&${query}`,
    rewindPostUri: `${instance}/rewind?reason={text}&${query}`,
    purgeHistoryDeleteUri: `${instance}?${query}`,
    restartPostUri: `${instance}/restart?${query}`,
    suspendPostUri: `${instance}/suspend?reason={text}&${query}`,
    resumePostUri: `${instance}/resume?reason={text}&${query}`,
  }
}

const requiredQuery = (hubName: string, key: string) =>
  `taskHub=${encodeURIComponent(hubName)}&connection=Storage&code=${encodeURIComponent(key)}`

/** The value of a `durableClient` binding. The client sends every call to `rpcBaseUrl`; the rest is for people. */
export function clientBinding(origin: string, hubName: string, key: string, rpcBaseUrl: string): string {
  const orchestrators = `${origin}${managementPath}/orchestrators/{functionName}[/{instanceId}]`
  const code = `code=${encodeURIComponent(key)}`
  return JSON.stringify({
    taskHubName: hubName,
    creationUrls: {
      createNewInstancePostUri: `${orchestrators}?${code}`,
      createAndWaitOnNewInstancePostUri: `${orchestrators}?timeout={timeoutInSeconds}&pollingInterval={intervalInSeconds}&${code}`,
    },
    managementUrls: managementUrls(origin, hubName, key, idPlaceholder),
    baseUrl: `${origin}${managementPath}`,
    requiredQueryStringParameters: requiredQuery(hubName, key),
    rpcBaseUrl,
  })
}
