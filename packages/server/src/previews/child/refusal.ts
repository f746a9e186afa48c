import type { Refusal } from '../protocol.ts'

/** A file that cannot be shown. */
export class RenderRefusal extends Error {
  readonly reason: Refusal

  constructor(reason: Refusal, options?: ErrorOptions) {
    super(reason, options)
    this.name = 'RenderRefusal'
    this.reason = reason
  }
}
