import { sameQuery, type SchemaDifference } from './schema-differences.ts'

export interface DocumentedDifference {
  reason: string
  /** A heading or row of docs/carried-over.md that says so, word for word. */
  documented: string
  covers: (difference: SchemaDifference) => boolean
  /** Of sources from this major on. */
  since?: number
  /** Of sources older than this major. */
  before?: number
}

const OF = '(OWNER OF |ACL ON |COMMENT ON )?'

/** An object of the source that the target is without. */
const missing =
  (object: RegExp, text: RegExp = /./) =>
  (difference: SchemaDifference): boolean =>
    object.test(difference.object) && difference.target.length === 0 && difference.source.every((sql) => text.test(sql))

/** The same once a word that a newer server prints is gone. */
const sameWithout =
  (object: RegExp, word: RegExp) =>
  (difference: SchemaDifference): boolean =>
    object.test(difference.object) &&
    JSON.stringify(difference.source) === JSON.stringify(difference.target.map((sql) => sql.replace(word, '')))

const superuser = (documented: string, object: string): DocumentedDifference => ({
  reason: 'only a superuser may make it, and the target has none',
  documented,
  covers: missing(new RegExp(`^${OF}(${object})$`)),
})

/** Everything in which pg_dump of the target may differ from that of the source. */
export const DOCUMENTED_DIFFERENCES: DocumentedDifference[] = [
  superuser('| access methods |', 'ACCESS METHOD another_heap'),
  superuser('| functions in C |', 'FUNCTION kinds\\.plcopy_handler'),
  superuser('| procedural languages |', '(PROCEDURAL )?LANGUAGE plcopy'),
  superuser('| casts without function |', 'CAST \\("int8range" AS "tsrange"\\)'),
  superuser('| operator classes and families |', 'OPERATOR (CLASS|FAMILY) kinds\\.(moods|mood_numbers)'),
  superuser('| text search parsers and templates |', 'TEXT SEARCH (PARSER kinds\\.any_text|TEMPLATE kinds\\.any_word)'),
  superuser('| event triggers |', 'EVENT TRIGGER watch_ddl'),
  superuser('| publications for all tables, or all tables of a schema |', 'PUBLICATION everything'),
  {
    reason: 'a publication of a whole schema stays without that schema, and with us',
    documented: '| publications for all tables, or all tables of a schema |',
    since: 15,
    covers: (difference) =>
      missing(/^PUBLICATION TABLE all_of_schema$/, / TABLES IN SCHEMA /)(difference) ||
      difference.object === 'OWNER OF PUBLICATION all_of_schema',
  },
  superuser(
    '| foreign data wrappers, servers, user mappings, foreign tables |',
    'FOREIGN DATA WRAPPER nowhere|SERVER far_away|USER MAPPING app SERVER far_away|FOREIGN TABLE kinds\\.far',
  ),
  {
    reason: 'a view on something that could not be made cannot be made either',
    documented: 'What needs an object that could not be made fails as well',
    covers: missing(/^(OWNER OF )?VIEW kinds\.on_far$/),
  },
  {
    reason: 'the role does not exist on the target',
    documented: 'the role does not exist on the target',
    covers: missing(/^ACL ON (SCHEMA plain|TABLE plain\.(child|events))$/, /"only_on_source"/),
  },
  {
    reason: 'public belongs to the owner of the database from PostgreSQL 14 on',
    documented: 'the owner of schema `public`',
    before: 15,
    covers: missing(/^OWNER OF SCHEMA public$/),
  },
  {
    reason: 'PostgreSQL 16 prints the columns of one table without its name',
    documented: 'prints the same query in other words',
    covers: (difference) => /^(MATERIALIZED )?VIEW /.test(difference.object) && sameQuery(difference),
  },
  {
    reason: 'PostgreSQL 14 prints IN',
    documented: 'prints the word IN in front of the arguments of procedures',
    before: 14,
    covers: sameWithout(/PROCEDURE kinds\.secure_proc$/, /\bIN (?=")/g),
  },
  {
    reason: 'a range type has a multirange type from PostgreSQL 14 on',
    documented: 'gives each range type a multirange type',
    before: 14,
    covers: sameWithout(/^TYPE /, /    multirange_type_name = [^\n]*\n/),
  },
  {
    reason: 'PostgreSQL 14 has no postfix operators any more',
    documented: 'postfix operators',
    before: 14,
    covers: missing(/^(OWNER OF )?OPERATOR kinds\.%%$/),
  },
]
