import { loadModule } from 'libpg-query'
import { beforeAll, expect, test } from 'vitest'
import {
  scheduleCutover,
  scheduleLoad,
  stageOf,
  validationsBeforeRowSecurity,
  type Transaction,
} from '../../../migration/schema/post-data-order.ts'
import type { PlannedStatement } from '../../../migration/schema/statements.ts'

let position = 0

beforeAll(loadModule)

function planned(kind: string, table: string, name: string, sql = `${kind} ${name}`): PlannedStatement {
  position++
  return {
    position,
    kind,
    schemaName: 'a',
    objectName: name,
    tableName: table,
    sql,
    state: 'pending',
    message: null,
  }
}

const names = (batches: PlannedStatement[][]): (string | null)[][] =>
  batches.map((batch) => batch.map(({ objectName }) => objectName))

const statementsOf = (transactions: Transaction[]): PlannedStatement[][] =>
  transactions.map(({ statements }) => statements)

/** Tables of these sizes, without partitions. */
const tables = (bytes: Map<string, number>) => ({ bytes, descendants: new Map<string, string[]>() })

const MB = 1024 * 1024

test.each([
  ['INDEX', 'load'],
  ['CONSTRAINT', 'load'],
  ['CHECK CONSTRAINT', 'load'],
  ['INDEX ATTACH', 'load'],
  ['STATISTICS', 'load'],
  ['ANALYZE', 'load'],
  ['CLUSTER', 'load'],
  ['REPLICA IDENTITY', 'load'],
  ['COMMENT ON INDEX', 'load'],
  ['COMMENT ON CONSTRAINT', 'load'],
  ['OWNER OF MATERIALIZED VIEW', 'load'],
  ['VIEW', 'load'],
  ['TRIGGER', 'cutover'],
  ['COMMENT ON TRIGGER', 'cutover'],
  ['RULE', 'cutover'],
  ['EVENT TRIGGER', 'cutover'],
  ['OWNER OF EVENT TRIGGER', 'cutover'],
  ['ROW SECURITY', 'cutover'],
  ['POLICY', 'cutover'],
  ['PUBLICATION', 'cutover'],
  ['PUBLICATION TABLE', 'cutover'],
  ['MATERIALIZED VIEW DATA', 'cutover'],
  ['FK CONSTRAINT', 'cutover'],
  ['COMMENT ON FK CONSTRAINT', 'cutover'],
  ['DEFAULT ACL', 'cutover'],
  ['VALIDATE FK CONSTRAINT', 'validate'],
  ['ANALYZE MATERIALIZED VIEW', 'validate'],
  ['ATTACHED FK CONSTRAINT', 'validate'],
  ['COMMENT ON ATTACHED FK CONSTRAINT', 'validate'],
])('%s belongs to the stage %s', (kind, stage) => {
  expect(stageOf(kind)).toBe(stage)
})

test('indexes of the largest tables come first, those of one small table in one transaction', () => {
  const { parallel, sequential } = scheduleLoad(
    [
      planned('INDEX', 'small', 'small1'),
      planned('INDEX', 'big', 'big1'),
      planned('CLUSTER', 'big', 'cluster'),
      planned('INDEX', 'huge', 'huge1'),
      planned(
        'CONSTRAINT',
        'small',
        'exclusion',
        'ALTER TABLE small ADD CONSTRAINT exclusion EXCLUDE USING gist (x WITH &&)',
      ),
      planned('CONSTRAINT', 'huge', 'key', 'ALTER TABLE huge ADD CONSTRAINT key PRIMARY KEY USING INDEX "key"'),
      planned('INDEX', 'made later', 'later'),
      planned('COMMENT ON INDEX', 'huge', 'comment'),
    ],
    tables(
      new Map([
        ['a.small', MB],
        ['a.big', 100 * MB],
        ['a.huge', 1000 * MB],
      ]),
    ),
  )
  expect(names(statementsOf(parallel))).toEqual([['huge1'], ['big1'], ['small1', 'exclusion']])
  expect(names(sequential)).toEqual([['cluster', 'key'], ['later'], ['comment']])
})

test('many small tables share transactions, and no table is in two of them', () => {
  const names = Array.from({ length: 40 }, (_, n) => `t${n}`)
  const statements = names.flatMap((table) =>
    ['x', 'y', 'z'].map((name) => planned('INDEX', table, `${table} ${name}`)),
  )
  const { parallel } = scheduleLoad(statements, tables(new Map(names.map((table) => [`a.${table}`, 0]))))
  expect(parallel.length).toBe(3)
  expect(statementsOf(parallel).flat()).toHaveLength(120)
  const tablesOfBatches = statementsOf(parallel).flatMap((batch) => [
    ...new Set(batch.map(({ tableName }) => tableName)),
  ])
  expect(tablesOfBatches).toHaveLength(names.length)
})

test('the statistics of a table follow its indexes and statistics objects, those of a parent all below it', () => {
  const index = (table: string): PlannedStatement => planned('INDEX', table, `${table} index`)
  const analyze = (table: string): PlannedStatement => planned('ANALYZE', table, `analyze ${table}`)
  const statistics = { tableName: null, sql: 'CREATE STATISTICS a.stats ON x, y FROM a.big' }
  const [big, leaf, deep] = [index('big'), index('leaf'), index('deep')]
  const { parallel, sequential } = scheduleLoad(
    [
      index('small'),
      big,
      leaf,
      deep,
      analyze('parent'),
      { ...planned('STATISTICS', '', 'stats'), ...statistics },
      { ...planned('STATISTICS', '', 'stats', 'ALTER STATISTICS a.stats SET STATISTICS 10'), tableName: null },
      analyze('big'),
      analyze('small'),
      analyze('plain'),
    ],
    {
      bytes: new Map([
        ['a.big', 100 * MB],
        ['a.leaf', 90 * MB],
        ...['small', 'plain', 'parent', 'deep'].map((name) => [`a.${name}`, 0] as const),
      ]),
      descendants: new Map([['a.parent', ['a.leaf', 'a.deep']]]),
    },
  )
  expect(parallel.map(({ statements, after }) => [names([statements])[0], after])).toEqual([
    [['analyze parent'], [leaf.position, deep.position]],
    [['stats', 'stats', 'analyze big'], [big.position]],
    [['big index'], []],
    [['leaf index'], []],
    [['deep index', 'small index', 'analyze small', 'analyze plain'], []],
  ])
  expect(sequential).toEqual([])
})

test('at the cutover row security comes after foreign keys, materialized views after it, event triggers last', () => {
  const { sequential } = scheduleCutover([
    planned('EVENT TRIGGER', '', 'event'),
    planned('MATERIALIZED VIEW DATA', 'm', 'refresh'),
    planned('POLICY', 't', 'policy'),
    planned('TRIGGER', 't', 'trigger'),
    planned('FK CONSTRAINT', 't', 'plain key', 'ALTER TABLE t ADD FOREIGN KEY (x) REFERENCES u'),
    planned('FK CONSTRAINT', 't', 'key', 'ALTER TABLE t ADD FOREIGN KEY (x) REFERENCES u NOT VALID'),
    planned('ROW SECURITY', 't', 'secure'),
    planned('VALIDATE FK CONSTRAINT', 't', 'key'),
  ])
  expect(names(sequential)).toEqual([
    ['trigger'],
    ['plain key'],
    ['key'],
    ['key'],
    ['policy', 'secure'],
    ['refresh'],
    ['event'],
  ])
})

test('only small tables with forced row security are validated at the cutover', () => {
  const statements = ['small', 'large', 'free'].flatMap((table) => [
    planned('FK CONSTRAINT', table, 'key', 'to parent'),
    planned('VALIDATE FK CONSTRAINT', table, 'key'),
  ])
  const bytes = new Map([
    ['a.small', MB],
    ['a.large', 1000 * MB],
    ['a.free', MB],
  ])
  const tables = (forced: string[], referenced: string): (string | null)[] =>
    validationsBeforeRowSecurity(statements, new Set(forced), bytes, () => referenced).map(({ tableName }) => tableName)
  expect(tables(['a.small', 'a.large'], 'a.parent')).toEqual(['small'])
  expect(tables(['a.parent'], 'a.parent')).toEqual(['small', 'free'])
  expect(tables([], 'a.parent')).toEqual([])
})
