/** A server parameter of the target as Azure describes it; elsewhere what pg_settings knows of it. */
export interface Configuration {
  name: string
  value: string
  /** False for a parameter that takes effect at the next start of the server only. */
  isDynamicConfig: boolean
  /** True for a parameter that only the platform may set. */
  isReadOnly: boolean
  /** True when a value has been set that waits for a restart. */
  isConfigPendingRestart: boolean
  /** `on,off` for a list, `1-262143` for a range, or a regular expression. */
  allowedValues?: string
  /** `Boolean`, `Numeric`, `Integer`, `Enumeration`, `String` or `Set`. */
  dataType?: string
}

/**
 * Reads and sets the server parameters of the target. A managed server has no `alter system`: Azure sets
 * parameters through its resource manager.
 */
export interface ConfigurationWriter {
  list(): Promise<Configuration[]>
  /**
   * Sets a parameter and waits until the server has it (or will have it at its next start).
   *
   * @throws {MigrationError} when the value is refused, the parameter unknown, or the right to set it missing
   */
  set(name: string, value: string): Promise<void>
}
