import { X509Certificate } from 'node:crypto'
import { expect, test } from 'vitest'
import { givenKey, isKey, isLoopback, isOurHost, isSameOrigin } from '../../host/auth.ts'
import { selfSignedCertificate } from './self-signed-certificate.ts'

test('only the whole key is the key', () => {
  expect(isKey('secret', 'secret')).toBe(true)
  for (const given of [undefined, '', 'secre', 'secret ', 'SECRET', 'secretsecret'])
    expect(isKey(given, 'secret')).toBe(false)
})

test('the key is found in either header and in the query, the headers first', () => {
  expect(givenKey({ authorization: 'Bearer abc' })).toBe('abc')
  expect(givenKey({ authorization: 'bearer  abc ' })).toBe('abc')
  expect(givenKey({ authorization: 'Basic abc' })).toBeUndefined()
  expect(givenKey({ 'x-functions-key': 'abc' }, new URLSearchParams('code=other'))).toBe('abc')
  expect(givenKey({}, new URLSearchParams('code=a%2Bb'))).toBe('a+b')
  expect(givenKey({})).toBeUndefined()
})

test('the Host header has to name this host and its port', () => {
  const identity = { host: '127.0.0.1', port: 7071 }
  for (const ours of ['127.0.0.1:7071', 'localhost:7071', 'LocalHost:7071', '[::1]:7071'])
    expect(isOurHost(ours, identity)).toBe(true)
  for (const foreign of [
    undefined,
    '',
    'localhost',
    'localhost:7072',
    'example.org:7071',
    '::1:7071',
    'localhost:7071:1',
  ])
    expect(isOurHost(foreign, identity)).toBe(false)
  expect(isOurHost('localhost', { host: 'localhost', port: 80 })).toBe(true)
})

test('with a certificate, the names in it are ours too', () => {
  const certificate = new X509Certificate(selfSignedCertificate().cert)
  const identity = { host: '192.0.2.7', port: 443, certificate }
  expect(isOurHost('192.0.2.7', identity)).toBe(true)
  expect(isOurHost('localhost:443', identity)).toBe(true)
  expect(isOurHost('example.org', identity)).toBe(false)
})

test('a request without Origin is no request of a page; one with it has to be of our own page', () => {
  expect(isSameOrigin(undefined, 'localhost:7071', false)).toBe(true)
  expect(isSameOrigin('http://localhost:7071', 'localhost:7071', false)).toBe(true)
  expect(isSameOrigin('http://localhost:7071', '127.0.0.1:7071', false)).toBe(false)
  expect(isSameOrigin('https://localhost:7071', 'localhost:7071', false)).toBe(false)
  expect(isSameOrigin('null', 'localhost:7071', false)).toBe(false)
})

test('loopback addresses are those that no other machine can reach', () => {
  for (const address of ['127.0.0.1', 'localhost', '::1', '127.9.9.9']) expect(isLoopback(address)).toBe(true)
  for (const address of ['0.0.0.0', '::', '10.0.0.1', '127.example.org']) expect(isLoopback(address)).toBe(false)
})
