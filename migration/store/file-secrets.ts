import { mkdir, rm, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { SecretStore } from './secrets.ts'

/** Secrets as files of mode 0600 in a folder of mode 0700, one file each: the local home's `secrets/`. */
export function fileSecrets(folder: string): SecretStore {
  const file = (name: string): string => {
    if (!/^[A-Za-z0-9-]{1,127}$/.test(name)) throw new Error('A secret name is made of letters, digits and hyphens.')
    return join(folder, name)
  }
  return {
    async get(name) {
      try {
        return await readFile(file(name), 'utf8')
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
        throw error
      }
    },
    async set(name, value) {
      await mkdir(folder, { recursive: true, mode: 0o700 })
      const temporary = `${file(name)}.tmp`
      await writeFile(temporary, value, { mode: 0o600, flush: true })
      await rename(temporary, file(name))
    },
    async delete(name) {
      await rm(file(name), { force: true })
    },
  }
}
