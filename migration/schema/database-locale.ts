import { literal } from '../sql.ts'

/** Encoding and locale of a database, in pg_database's words. */
export interface DatabaseLocale {
  encoding: string
  collate: string
  ctype: string
  /** builtin, ICU, libc; libc before PostgreSQL 15. */
  provider: 'b' | 'i' | 'c'
  /** The provider's own locale, null for libc. */
  locale: string | null
  icuRules: string | null
}

/** One way to create a database, and what it stands for. */
export interface LocaleChoice {
  clauses: string
  title: string
}

/**
 * How to create a database with a locale on a server of a major: as it is, then the same under its other
 * spelling (`en_US.UTF-8` is `en_US.utf8` elsewhere), then the nearest that sorts by code points.
 * https://www.postgresql.org/docs/current/sql-createdatabase.html
 */
export function localeChoices(source: DatabaseLocale, major: number): LocaleChoice[] {
  const { encoding, collate, ctype, provider, locale, icuRules } = source
  const libc = (name: string): string => `lc_collate ${literal(name)} lc_ctype ${literal(name)}`
  const choices: LocaleChoice[] = []
  for (const respell of [(name: string) => name, gnuSpelling, dashedSpelling]) {
    const base = `lc_collate ${literal(respell(collate))} lc_ctype ${literal(respell(ctype))}`
    if (provider === 'i' && major >= 15) {
      const rules = icuRules === null || major < 16 ? '' : ` icu_rules ${literal(icuRules)}`
      choices.push({
        clauses: `${base} locale_provider icu icu_locale ${literal(locale ?? 'und')}${rules}`,
        title: `ICU ${locale}`,
      })
    }
    if (provider === 'b' && major >= 17) {
      choices.push({
        clauses: `${base} locale_provider builtin builtin_locale ${literal(locale ?? 'C')}`,
        title: `builtin ${locale}`,
      })
    }
    if (provider === 'c') choices.push({ clauses: base + providerClause(major), title: respell(collate) })
  }
  if (provider !== 'c') choices.push({ clauses: libc(collate) + providerClause(major), title: collate })
  if (encoding === 'UTF8') choices.push({ clauses: libc('C.UTF-8') + providerClause(major), title: 'C.UTF-8' })
  choices.push({ clauses: libc('C') + providerClause(major), title: 'C' })
  return choices.filter(({ clauses }, n) => choices.findIndex((other) => other.clauses === clauses) === n)
}

/** What the choices are measured against: the first one is the source's own. */
export function localeTitle({ provider, locale, collate }: DatabaseLocale): string {
  return provider === 'i' ? `ICU ${locale}` : provider === 'b' ? `builtin ${locale}` : collate
}

/** The default is that of template0, which may be another provider. */
function providerClause(major: number): string {
  return major >= 15 ? ' locale_provider libc' : ''
}

function gnuSpelling(name: string): string {
  return name.replace(/\.UTF-8$/i, '.utf8')
}

function dashedSpelling(name: string): string {
  return name.replace(/\.utf8$/i, '.UTF-8')
}
