import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

/** What an operator should be woken for, in the text format of Prometheus. */
export interface Metrics {
  readonly registry: Registry
  /** Stored bytes that were not what was written, by the dialect that was asked for them. */
  readonly integrityFailures: Counter<'dialect'>
  /** Seconds that requests to a bucket took, by operation and outcome: ok, refused or failed. */
  readonly bucketRequests: Histogram<'operation' | 'outcome'>
  /** Bytes of content that background scrubs opened. */
  readonly scrubbedBytes: Counter
  /** 1 for each kind of file that this process makes previews of. */
  readonly previewKinds: Gauge<'kind'>
  readonly previews: Counter<'result'>
}

export function createMetrics(): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const integrityFailures = new Counter({
    name: 'holdfast_integrity_failures_total',
    help: 'Reads and scrubs of stored bytes or columns that were not what was written',
    labelNames: ['dialect'],
    registers: [registry],
  })
  const bucketRequests = new Histogram({
    name: 'holdfast_bucket_request_seconds',
    help: 'Seconds until the bucket answered; failed requests are tried again',
    labelNames: ['operation', 'outcome'] as const,
    buckets: [0.005, 0.02, 0.1, 0.5, 2, 10, 60],
    registers: [registry],
  })
  const scrubbedBytes = new Counter({
    name: 'holdfast_scrubbed_bytes_total',
    help: 'Bytes of content that background scrubs opened',
    registers: [registry],
  })
  const previewKinds = new Gauge({
    name: 'holdfast_preview_kinds',
    help: 'Whether this process makes previews of a kind of file',
    labelNames: ['kind'] as const,
    registers: [registry],
  })
  const previews = new Counter({
    name: 'holdfast_previews_total',
    help: 'Attempts to make the previews of a file',
    labelNames: ['result'] as const,
    registers: [registry],
  })
  return {
    ...{ registry, integrityFailures, bucketRequests, scrubbedBytes },
    ...{ previewKinds, previews },
  }
}
