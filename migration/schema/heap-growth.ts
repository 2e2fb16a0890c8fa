import { setFlagsFromString } from 'node:v8'

/*
 * V8 gives new objects up to 48 MB of room, and takes what survives there into a heap that grows to several times of
 * what is alive. The schema of a large database passes through memory in texts and rows that live for a moment: with
 * 10,000 tables it took 190 MB of heap for some 60 MB that were alive at a time. As long as the room does not grow it
 * took 40 to 110 MB, and no more time of the processor (9.4 s against 9.3 to 10.3 s).
 */
setFlagsFromString('--semi-space-growth-factor=1')

/** V8's own default. For whoever makes garbage by the second, as following does: it is cheaper to collect more at a time. */
export function growHeapFreely(): void {
  setFlagsFromString('--semi-space-growth-factor=2')
}
