import { expect, test } from 'vitest'
import { MessageQueue } from '../../../migration/replicate/message-queue.ts'

test('the sender is held at the bound, and let go on when the messages are taken', async () => {
  const held: boolean[] = []
  const queue = new MessageQueue<number>(100, (hold) => held.push(hold))
  queue.put(1, 60)
  expect(held).toEqual([])
  queue.put(2, 60)
  queue.put(3, 60)
  expect(held).toEqual([true])
  expect(await queue.take(0)).toEqual([1, 2, 3])
  expect(held).toEqual([true, false])
})

test('a failure is told after the messages before it, and none after it', async () => {
  const queue = new MessageQueue<number>(100, () => {})
  queue.put(1, 1)
  queue.fail(new Error('first'))
  queue.put(2, 1)
  queue.fail(new Error('second'))
  expect(await queue.take(1000)).toEqual([1])
  await expect(queue.take(1000)).rejects.toThrow('first')
  await expect(queue.take(1000)).rejects.toThrow('first')
})

test('a reader that waits is woken by a message, by a failure, and by being told to', async () => {
  const queue = new MessageQueue<number>(100, () => {})
  const message = queue.take(60_000)
  queue.put(1, 1)
  expect(await message).toEqual([1])
  const woken = queue.take(60_000)
  queue.wake()
  expect(await woken).toEqual([])
  queue.wake()
  expect(await queue.take(60_000)).toEqual([])
  const failed = queue.take(60_000)
  queue.fail(new Error('lost'))
  await expect(failed).rejects.toThrow('lost')
})
