import type { WorkloadTransaction } from './workload-transaction.ts'

/** What the shop does all day; each is the inside of one transaction. */
export const SHOP_TRANSACTIONS: readonly WorkloadTransaction[] = [
  {
    name: 'place an order',
    weight: 30,
    async run(sql, random) {
      const customer = random.between(1, 4000)
      const day = random.between(0, 1300)
      const { rows } = await sql(
        `insert into shop."order" (placed_at, channel, customer_id)
         values (timestamptz '2023-01-01 00:00+00' + $1 * interval '1 day 1.000001 seconds', $2, $3) returning id::text`,
        [day, random.pick(['web', 'app', 'store', 'phone']), customer],
      )
      const order = rows[0]!['id']
      const products = new Set(Array.from({ length: random.between(1, 5) }, () => random.between(1, 2000)))
      // In the order of the key, so that two orders don't wait for each other.
      for (const [index, product] of [...products].toSorted((a, b) => a - b).entries()) {
        await sql(
          `insert into shop.order_line (order_id, placed_at, channel, line, product_id, quantity, price)
           select o.id, o.placed_at, o.channel, $2, p.id, $4, p.price
             from shop."order" o, shop.product p where o.id = $1 and p.id = $3`,
          [order, index + 1, product, random.between(1, 4)],
        )
        await sql('update shop.stock set quantity = quantity - 1 where warehouse_id = $1 and product_id = $2', [
          random.between(1, 3),
          product,
        ])
      }
      await sql(
        `update shop."order" set total = (select sum(amount) from shop.order_line where order_id = $1) where id = $1`,
        [order],
      )
      await sql('update shop.customer set balance = balance + 1 where id = $1', [customer])
    },
  },
  {
    name: 'cancel an order',
    weight: 3,
    run: (sql, random) => sql('delete from shop."order" where id = $1', [random.between(1, 4000)]),
  },
  {
    name: 'send a shipment',
    weight: 12,
    async run(sql, random) {
      // To another partition, mostly.
      await sql(
        `update shop.shipment set state = $2, history = history || clock_timestamp()
          where id = (select id from shop.shipment where order_id = $1 limit 1)`,
        [random.between(1, 2000), random.pick(['open', 'packed', 'sent', 'lost', 'returned'])],
      )
      if (random.oneIn(2)) {
        await sql('insert into shop.shipment values ($1, $2, $3, int4range(1, $4))', [
          random.uuid(),
          random.pick(['open', 'sent']),
          random.between(1, 2000),
          random.between(2, 5),
        ])
      }
    },
  },
  {
    name: 'fill a cart',
    weight: 12,
    async run(sql, random) {
      const session = `md5('session ' || ${random.between(0, 299)})::uuid`
      await sql(
        `insert into shop.cart
         select ${session}, $1::int, $2::int, case when $3::boolean then shop.noise($1::int::text, 9000) end, timestamptz '2025-01-01' from generate_series(1, 2)`,
        [random.between(1, 2000), random.between(1, 9), random.oneIn(4)],
      )
      await sql(`update shop.cart set quantity = coalesce(quantity, 0) + 1 where session = ${session}`)
      if (random.oneIn(3)) await sql(`delete from shop.cart where session = ${session} and quantity > 5`)
    },
  },
  {
    name: 'change a price',
    weight: 8,
    async run(sql, random) {
      const product = random.between(1, 2000)
      // The description, outside the row, stays as it is.
      await sql('update shop.product set price = $2 where id = $1', [product, random.between(1, 90_000) / 100])
      await sql('insert into shop.price_history select id, clock_timestamp(), price from shop.product where id = $1', [
        product,
      ])
      // Changes the key by which a row is found.
      await sql(
        `update shop.price_history set valid_from = valid_from + interval '1 microsecond', reason = 'moved' where product_id = $1`,
        [random.between(1, 2000)],
      )
    },
  },
  {
    name: 'describe a product',
    weight: 3,
    run: (sql, random) =>
      sql('update shop.product set description = shop.noise($2, 12000) where id = $1', [
        random.between(1, 2000),
        random.uuid(),
      ]),
  },
  {
    name: 'exchange two numbers',
    weight: 3,
    async run(sql, random) {
      const low = random.between(1, 1999)
      const pair = [low, random.between(low + 1, 2000)]
      const { rows } = await sql(
        'select id::text, sku from shop.product where id = any ($1::int[]) order by id for update',
        [pair],
      )
      await sql('update shop.product set sku = $2 where id = $1', [rows[0]!['id'], `moving-${random.uuid()}`])
      await sql('update shop.product set sku = $2 where id = $1', [rows[1]!['id'], rows[0]!['sku']])
      await sql('update shop.product set sku = $2 where id = $1', [rows[0]!['id'], rows[1]!['sku']])
    },
  },
  {
    name: 'view pages',
    weight: 10,
    run: (sql, random) =>
      sql(
        `insert into shop.page_view select clock_timestamp(), '/page/' || i, '10.0.0.1', i * interval '1 ms' from generate_series(1, $1::int) i`,
        [random.between(1, 20)],
      ),
  },
  {
    name: 'write notes',
    weight: 8,
    async run(sql, random) {
      const order = random.between(1, 1000)
      await sql(`insert into shop."Order Notes" ("order", "The ""Text""") values ($1, $2)`, [order, `it's a \\ "note"`])
      await sql(`update shop."Order Notes" set "isÄnderbar" = not "isÄnderbar" where "order" = $1`, [order])
      // A new key for an old row.
      await sql(
        `update shop."Order Notes" set "Note Id" = nextval(pg_get_serial_sequence('shop."Order Notes"', 'Note Id')) where "Note Id" = $1`,
        [random.between(1, 1000)],
      )
      await sql(`delete from shop."Order Notes" where "Note Id" = $1`, [random.between(1, 2000)])
    },
  },
  {
    name: 'rearrange shelves',
    weight: 4,
    async run(sql, random) {
      const low = random.between(1, 99)
      const pair = [low, random.between(low + 1, 100)]
      const { rows } = await sql(
        'select id, position from shop.shelf where id = any ($1::int[]) order by id for update',
        [pair],
      )
      await sql('update shop.shelf set position = $2 where id = $1', [rows[0]!['id'], rows[1]!['position']])
      await sql('update shop.shelf set position = $2 where id = $1', [rows[1]!['id'], rows[0]!['position']])
    },
  },
  {
    name: 'empty the queue',
    weight: 2,
    async run(sql, random) {
      await sql('truncate shop.search_queue')
      await sql(`insert into shop.search_queue select i, ('word' || i)::tsquery from generate_series(1, $1::int) i`, [
        random.between(0, 20),
      ])
    },
  },
  {
    name: 'register a customer, with a savepoint',
    weight: 5,
    async run(sql, random) {
      await sql(
        `insert into shop.customer (email, first_name, last_name, country, address, tags, created_at)
         values ($1::text, 'New', 'Customer', 'AA', row('1 "A" St', null, ''), array[$1::text, null], clock_timestamp())`,
        [`${random.uuid()}@example.org`],
      )
      await sql('savepoint bonus')
      await sql('update shop.customer set balance = balance + 100 where id = $1', [random.between(1, 4000)])
      await sql('insert into shop.category (parent_id, name) values (1, $1)', [`never there ${random.uuid()}`])
      await sql('rollback to savepoint bonus')
      await sql(`update shop.customer set status = 'regular', profile = profile || '{"seen": true}' where id = $1`, [
        random.between(1, 4000),
      ])
      await sql('release savepoint bonus')
    },
  },
  {
    name: 'replace a picture',
    weight: 1,
    run: (sql, random) =>
      sql(
        `insert into shop.media values ('picture ' || $1::text, decode(shop.noise($2, 30000), 'hex'))
         on conflict (name) do update set content = excluded.content`,
        [String(random.between(1, 60)), random.uuid()],
      ),
  },
]
