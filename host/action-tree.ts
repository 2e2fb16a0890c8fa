/** A place in the tree of actions that Task.all and Task.any span; the root is what the orchestrator awaits. */
export interface ActionNode {
  /**
   * `canceled` belongs to timers that were canceled, and to what waited for them: nobody waits for it any more, but it
   * wins no race either. The list of actions shows a cancellation from the first step on, although the orchestrator
   * canceled the timer because of something that came later.
   */
  state: 'open' | 'done' | 'canceled'
  failed: boolean
  kind: 'leaf' | 'all' | 'any'
  /** Whether an `all` ends with its first failure, as it does for the orchestrator's code, or with its last child. */
  failsFast: boolean
  parent?: ActionNode
  children: ActionNode[]
  openChildren: number
}

export const openNode = (parent?: ActionNode, failsFast = false): ActionNode => ({
  state: 'open',
  failed: false,
  kind: 'leaf',
  failsFast,
  parent,
  children: [],
  openChildren: 0,
})

/** Makes a node wait for others, some of which may have ended already. */
export function waitForChildren(node: ActionNode, kind: 'all' | 'any', children: ActionNode[]): void {
  node.kind = kind
  node.children = children
  node.openChildren = children.filter(({ state }) => state === 'open').length
  if (kind === 'any' && children.some(({ state }) => state === 'done')) node.state = 'done'
  else if (node.openChildren === 0) node.state = endOfCompound(node)
}

/** Ends a node, and with it what waited for it. */
export function endNode(node: ActionNode, { failed = false } = {}): void {
  close(node, 'done', failed)
}

function close(node: ActionNode, state: 'done' | 'canceled', failed: boolean): void {
  if (node.state === 'done' || node.state === state) return
  const wasOpen = node.state === 'open'
  node.state = state
  node.failed = failed
  const { parent } = node
  if (!parent || parent.state === 'done') return
  if (wasOpen) parent.openChildren--
  if (parent.kind === 'any' && state === 'done') close(parent, 'done', false)
  else if (parent.kind === 'all' && parent.failsFast && failed) close(parent, 'done', true)
  else if (parent.openChildren === 0) close(parent, endOfCompound(parent), anyFailed(parent))
}

const anyFailed = ({ kind, children }: ActionNode) => kind === 'all' && children.some(({ failed }) => failed)

/** What a Task.all or Task.any comes to when none of its parts is open and none has won. */
const endOfCompound = (node: ActionNode) =>
  node.kind === 'all' && (anyFailed(node) || node.children.every(({ state }) => state === 'done')) ? 'done' : 'canceled'
