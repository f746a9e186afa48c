import type { FastifyPluginAsync } from 'fastify'
import type { DialectOptions } from './dialect.ts'
import { misakey } from './misakey/index.ts'
import { native } from './native/index.ts'
import { privasfer } from './privasfer/index.ts'
import { twake } from './twake/index.ts'

/** The file APIs that one core serves; each is a folder that knows none of the others. */
export const dialects: readonly FastifyPluginAsync<DialectOptions>[] = [
  native,
  privasfer,
  twake,
  misakey,
]
