/** PostgreSQL's own parser, compiled once and not a second time. */
import './wasm-tiers.ts'
export { loadModule, parseSync, type Constraint, type Node } from 'libpg-query'
