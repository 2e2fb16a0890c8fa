import { expect, test } from 'vitest'
import { widening } from '../../../../migration/replicate/schema-change/widened-type.ts'

test.each([
  ['smallint', 'integer', true],
  ['integer', 'bigint', true],
  ['bigint', 'numeric', true],
  ['character varying(10)', 'character varying(20)', false],
  ['character varying(10)', 'character varying', false],
  ['character varying(10)', 'text', false],
  ['character varying', 'text', false],
  ['text', 'character varying', false],
  ['numeric(6,2)', 'numeric(12,2)', false],
  ['numeric(6,2)', 'numeric', false],
  ['bit varying(3)', 'bit varying(4)', false],
  ['timestamp(3) without time zone', 'timestamp without time zone', false],
  ['timestamp(3) with time zone', 'timestamp(6) with time zone', false],
])('%s may become %s', (before, after, rewrites) => {
  expect(widening(before, after)).toEqual({ rewrites })
})

test.each([
  ['bigint', 'integer'],
  ['integer', 'smallint'],
  ['integer', 'numeric(10,2)'],
  ['integer', 'text'],
  ['integer', 'double precision'],
  ['real', 'double precision'],
  ['character varying(20)', 'character varying(10)'],
  ['character varying', 'character varying(10)'],
  ['text', 'character varying(10)'],
  ['character(3)', 'character(4)'],
  ['character(3)', 'text'],
  ['numeric(6,2)', 'numeric(8,3)'],
  ['numeric(6,2)', 'numeric(5,2)'],
  ['numeric', 'numeric(6,2)'],
  ['timestamp without time zone', 'timestamp with time zone'],
  ['timestamp(3) without time zone', 'timestamp(3) with time zone'],
  ['timestamp without time zone', 'timestamp(3) without time zone'],
  ['timestamp with time zone', 'text'],
  ['date', 'timestamp without time zone'],
  ['json', 'jsonb'],
  ['cidr', 'inet'],
  ['integer[]', 'bigint[]'],
  ['character varying(3)[]', 'text[]'],
  ['public.mood', 'text'],
])('%s does not become %s by itself', (before, after) => {
  expect(widening(before, after)).toBeUndefined()
})
