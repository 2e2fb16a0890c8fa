/** PostgreSQL's own parser, compiled once and not a second time. */
import './heap-growth.ts'
import './wasm-tiers.ts'
export { loadModule, parseSync, type Constraint, type Node } from 'libpg-query'
