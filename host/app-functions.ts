import type { RegisteredFunction } from './core-module.ts'

/** The app's functions by what starts them. Names are compared without regard to case, as Functions does. */
export interface AppFunctions {
  http: RegisteredFunction[]
  orchestrator(name: string): RegisteredFunction | undefined
  activity(name: string): RegisteredFunction | undefined
  isKnown: (kind: 'activity' | 'subOrchestration', name: string) => boolean
  /** Those that the local host never runs. */
  unsupported: RegisteredFunction[]
}

export function sortFunctions(functions: RegisteredFunction[]): AppFunctions {
  const ofType = (type: string) => functions.filter(({ trigger }) => trigger.type === type)
  const byName = (type: string) => new Map(ofType(type).map((f) => [f.metadata.name.toLowerCase(), f]))
  const orchestrators = byName('orchestrationtrigger')
  const activities = byName('activitytrigger')
  return {
    http: ofType('httptrigger'),
    orchestrator: (name) => orchestrators.get(name.toLowerCase()),
    activity: (name) => activities.get(name.toLowerCase()),
    isKnown: (kind, name) => (kind === 'activity' ? activities : orchestrators).has(name.toLowerCase()),
    unsupported: functions.filter(
      ({ trigger }) => !['httptrigger', 'orchestrationtrigger', 'activitytrigger'].includes(trigger.type),
    ),
  }
}
