/** An HTTP response before it is written. */
export interface HttpAnswer {
  status: number
  headers: Record<string, string | string[]>
  body: string | Uint8Array
}

/** An error of the host itself, in the shape that Azure APIs use. */
export const errorAnswer = (status: number, code: string, message: string): HttpAnswer => ({
  status,
  headers: { 'content-type': 'application/json; charset=utf-8' },
  body: JSON.stringify({ error: { code, message } }),
})
