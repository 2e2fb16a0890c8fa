import type { WorkloadTransaction } from './workload-transaction.ts'

const DAY = `date '2022-06-01'`

/** What the bank does all day; the sum of all balances stays the same. */
export const LEDGER_TRANSACTIONS: readonly WorkloadTransaction[] = [
  {
    name: 'transfer money',
    weight: 30,
    async run(sql, random) {
      for (let count = random.oneIn(5) ? random.between(2, 4) : 1; count > 0; count--) {
        const from = random.between(1, 2000)
        const to = 1 + ((from + random.between(0, 1998)) % 2000)
        await sql(`call ledger.book($1, $2, $3, ${DAY} + $4::int)`, [
          from,
          to,
          random.between(1, 5000) / 100,
          random.between(0, 1100),
        ])
      }
    },
  },
  {
    name: 'record events',
    weight: 8,
    run: (sql, random) =>
      sql(
        `insert into ledger.account_event select 1 + (i * 7 + $1) % 2000, $2, 'event' from generate_series(1, 5) i on conflict do nothing`,
        [random.between(0, 1999), random.between(10, 1_000_000)],
      ),
  },
  {
    name: 'open an account',
    weight: 6,
    async run(sql, random) {
      const iban = `XX00${random.uuid().replaceAll('-', '').toUpperCase().slice(0, 26)}`
      const { rows } = await sql(
        `insert into ledger.account (iban, holder, branch, currency, kind, balance)
         values ($1, $2, $3, 'EUR', 'savings', 0) returning id::text`,
        [iban, random.between(100, 1599), random.between(1, 30)],
      )
      await sql(
        'insert into ledger.card (number, account, pin, expires) values ($1, $2, $3::int::bit(16), current_date)',
        [random.uuid(), rows[0]!['id'], random.between(0, 65_535)],
      )
      // Closed at once now and then: the card goes with it.
      if (random.oneIn(4)) await sql('delete from ledger.account where id = $1', [rows[0]!['id']])
    },
  },
  {
    name: 'replace a card',
    weight: 6,
    async run(sql, random) {
      // Changes the key by which a row is found, and back to an old value of another row.
      await sql('update ledger.card set number = $2, pin = ~pin where id = $1', [
        random.between(1, 1000),
        random.uuid(),
      ])
      if (random.oneIn(10)) await sql('delete from ledger.card where id = $1', [random.between(1, 1000)])
    },
  },
  {
    name: 'print statements',
    weight: 8,
    async run(sql, random) {
      const account = random.between(1, 200)
      await sql('update ledger.statement set printed = not printed where account = $1', [account])
      await sql(
        `insert into ledger.statement (account, month, body)
         select $1::bigint, date '2024-01-01' + $2::int, (select string_agg(md5($3::text || j), '') from generate_series(1, 350) j)
         on conflict (account, month) do update set body = excluded.body || 'again'`,
        [account, random.between(1, 5), random.uuid()],
      )
      // A new key; the long text, outside the row, stays as it is.
      await sql(
        `update ledger.statement set month = month + 3650
          where account = $1 and month < date '2030-01-01'
            and not exists (select from ledger.statement s where s.account = $1 and s.month > date '2030-01-01')`,
        [random.between(1, 200)],
      )
      if (random.oneIn(3)) {
        await sql(`delete from ledger.statement where account = $1 and month > date '2030-01-01'`, [
          random.between(1, 200),
        ])
      }
    },
  },
  {
    name: 'quote prices',
    weight: 8,
    async run(sql, random) {
      await sql(`insert into ledger.fx_quote values ($1, $2, $3, clock_timestamp()), ('X', 'NaN', '-Infinity', null)`, [
        random.pick(['EURUSD', 'USDJPY']),
        random.next(),
        random.next() * 1e30,
      ])
      await sql(
        `update ledger.fx_quote set ask = ask + 1 where ctid = (select min(ctid) from ledger.fx_quote where pair = $1)`,
        [random.pick(['EURUSD', 'USDJPY', 'X'])],
      )
      if (random.oneIn(3)) await sql(`delete from ledger.fx_quote where pair = 'X' and bid = 'NaN'`)
      await sql(
        `update ledger.exchange_rate set rate = rate * 1.0001 where currency = 'USD' and during @> ${DAY} - $1::int`,
        [random.between(500, 900)],
      )
    },
  },
  {
    name: 'log terminals',
    weight: 8,
    run: (sql, random) =>
      sql(
        `insert into ledger.terminal_log
         select clock_timestamp(), '08:00:2b:01:02:03', random(), '{"a": 1,  "a": 2}' from generate_series(1, $1::int)`,
        [random.between(1, 10)],
      ),
  },
  {
    name: 'edit notes',
    weight: 5,
    async run(sql, random) {
      // Through the parent: rows of both tables.
      await sql(`update ledger.note set text = text || '.' where id in ($1, $1 + 1000)`, [random.between(1, 100)])
      await sql('insert into ledger.legal_note values ($1, $2, null) on conflict (id) do update set paragraph = $2', [
        random.between(1001, 1200),
        `§ ${random.between(1, 99)}`,
      ])
      if (random.oneIn(3)) await sql('delete from only ledger.legal_note where id = $1', [random.between(1001, 1200)])
    },
  },
  {
    name: 'order before the account is there',
    weight: 4,
    async run(sql, random) {
      const { rows } = await sql(`select nextval(pg_get_serial_sequence('ledger.account', 'id'))::text as id`)
      const account = rows[0]!['id']
      await sql(
        `insert into ledger.standing_order values ($1, $2, '1 month -3 days', '12.50'::numeric::money, 'infinity')
         on conflict (id) do update set account = excluded.account, next_at = localtimestamp`,
        [random.between(1, 700), account],
      )
      await sql(
        `insert into ledger.account (id, iban, holder, branch, currency, kind, balance)
         values ($1::bigint, 'YY00' || lpad($1::bigint::text, 20, '0'), $2, 1, 'USD', 'loan', 0)`,
        [account, random.between(100, 1599)],
      )
    },
  },
  {
    name: 'turn priorities round',
    weight: 1,
    run: (sql) => sql('update ledger.priority set rank = 51 - rank'),
  },
  {
    name: 'empty the cache',
    weight: 2,
    async run(sql, random) {
      await sql('truncate ledger.session_cache')
      await sql(`insert into ledger.session_cache select 'key ' || i, $1 from generate_series(1, 10) i`, [
        random.uuid(),
      ])
      await sql(`select nextval('ledger.countdown'), nextval('archive.box_number')`)
    },
  },
  {
    name: 'file documents, with a savepoint',
    weight: 4,
    async run(sql, random) {
      await sql(
        `insert into archive.document (id, title, content)
         select $1::uuid, 'Title ' || $1::uuid::text, (select decode(string_agg(md5($1::uuid::text || j), ''), 'hex') from generate_series(1, 600) j)`,
        [random.uuid()],
      )
      await sql('savepoint second')
      await sql(`insert into archive.document (id, title) values ($1, 'never there')`, [random.uuid()])
      await sql('rollback to savepoint second')
      await sql(`update archive.document set title = title || ' +' where id = md5($1::text)::uuid`, [
        random.between(1, 60),
      ])
      if (random.oneIn(5))
        await sql(`delete from archive.document where id = md5($1::text)::uuid`, [random.between(1, 60)])
    },
  },
  {
    name: 'sum up',
    weight: 3,
    async run(sql, random) {
      const key = random.between(1, 300)
      await sql(
        `insert into archive."Übersicht 2024" values ($1, $2, B'1011', 'ü') on conflict ("Konto-Nr.") do update set "Größe" = excluded."Größe"`,
        [key, random.next()],
      )
      await sql(
        `update archive."Übersicht 2024" set "Konto-Nr." = -"Konto-Nr."
          where "Konto-Nr." = $1 and not exists (select from archive."Übersicht 2024" where "Konto-Nr." = -$1)`,
        [random.between(1, 300)],
      )
      await sql('update ledger.branch set parent = $2 where id = $1', [random.between(2, 30), 1])
    },
  },
]
