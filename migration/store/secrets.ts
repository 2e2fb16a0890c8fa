/**
 * Where passwords live and nowhere else: Key Vault on Azure, a file of mode 0600 in the local home.
 * Names are `[A-Za-z0-9-]`, which is what Key Vault allows.
 */
export interface SecretStore {
  /** The secret, or undefined when it was never set or is deleted. */
  get(name: string): Promise<string | undefined>
  set(name: string, value: string): Promise<void>
  /** Deletes a secret; no error when there is none. */
  delete(name: string): Promise<void>
}

export type Side = 'source' | 'target'

/** The name of the password of one side of a migration. */
export function passwordName(migrationKey: string, side: Side): string {
  return `pgflex-${migrationKey}-${side}-password`
}
