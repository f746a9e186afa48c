import { Counter, collectDefaultMetrics, Registry } from 'prom-client'

/** What an operator should be woken for, in the text format of Prometheus. */
export interface Metrics {
  readonly registry: Registry
  /** Stored bytes that were not what was written. */
  readonly integrityFailures: Counter
}

export function createMetrics(): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const integrityFailures = new Counter({
    name: 'holdfast_integrity_failures_total',
    help: 'Reads of stored bytes or columns that were not what was written',
    registers: [registry],
  })
  return { registry, integrityFailures }
}
