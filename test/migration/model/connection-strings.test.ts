import { expect, it } from 'vitest'
import { connectionStrings, type TargetDatabase } from '../../../migration/model/connection-strings.ts'

const AZURE: TargetDatabase = {
  host: 'orders.postgres.database.azure.com',
  port: 5432,
  database: 'orders',
  sslMode: 'Prefer',
}

const byClient = (target: TargetDatabase): Record<string, string> =>
  Object.fromEntries(connectionStrings(target).map(({ client, text }) => [client, text]))

it('a flexible server is reached with its certificate checked, whatever the migration used', () => {
  expect(byClient(AZURE)).toEqual({
    libpq:
      'host=orders.postgres.database.azure.com port=5432 dbname=orders user=<user> sslmode=verify-full sslrootcert=system',
    URI: 'postgresql://<user>@orders.postgres.database.azure.com:5432/orders?sslmode=verify-full&sslrootcert=system',
    JDBC: 'jdbc:postgresql://orders.postgres.database.azure.com:5432/orders?user=<user>&sslmode=verify-full&sslfactory=org.postgresql.ssl.DefaultJavaSSLFactory',
    '.NET': 'Host=orders.postgres.database.azure.com;Port=5432;Database=orders;Username=<user>;SSL Mode=VerifyFull',
    Node: `new pg.Client({ host: "orders.postgres.database.azure.com", port: 5432, database: "orders", user: '<user>', password: process.env.PGPASSWORD, ssl: true })`,
    Python:
      'psycopg.connect(host="orders.postgres.database.azure.com", port=5432, dbname="orders", user="<user>", password=os.environ["PGPASSWORD"], sslmode="verify-full", sslrootcert="system")',
  })
})

it('elsewhere with the mode of the migration, and with the authority where the certificate is checked', () => {
  const local = { ...AZURE, host: 'db.example.com', port: 5433 }
  expect(byClient(local)).toMatchObject({
    libpq: 'host=db.example.com port=5433 dbname=orders user=<user> sslmode=prefer',
    '.NET': expect.stringMatching(/;SSL Mode=Prefer$/),
    Node: expect.stringContaining('ssl: false'),
  })
  const checked = byClient({ ...local, sslMode: 'VerifyCA' })
  expect(checked['libpq']).toMatch(/sslmode=verify-ca sslrootcert='<file of the certificate authority>'$/)
  expect(checked['Node']).toContain('checkServerIdentity')
  expect(byClient({ ...local, sslMode: 'Require' })['Node']).toContain('ssl: { rejectUnauthorized: false }')
})

it('names of any letters are quoted as each client wants it', () => {
  const odd = byClient({ ...AZURE, host: '2001:db8::1', database: `my "db" o'clock\\;&?` })
  expect(odd).toMatchObject({
    libpq: expect.stringContaining(`host=2001:db8::1 port=5432 dbname='my "db" o\\'clock\\\\;&?'`),
    URI: expect.stringContaining(`@[2001:db8::1]:5432/my%20%22db%22%20o'clock%5C%3B%26%3F?`),
    JDBC: expect.stringContaining(`//[2001:db8::1]:5432/my%20%22db%22%20o'clock%5C%3B%26%3F?user`),
    '.NET': expect.stringContaining(`Database="my ""db"" o'clock\\;&?";`),
    Node: expect.stringContaining(`database: "my \\"db\\" o'clock\\\\;&?"`),
  })
})
