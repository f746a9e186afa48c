import { Ajv, type Options } from 'ajv'
import type { FastifyInstance, FastifySchemaCompiler } from 'fastify'

const OPTIONS: Options = { allErrors: true, removeAdditional: false, useDefaults: true }
// One of each for all servers of a process: they keep what they have compiled.
const json = new Ajv({ ...OPTIONS, coerceTypes: false })
const text = new Ajv({ ...OPTIONS, coerceTypes: true })

/**
 * Checks requests against their schemas, every fault at once. Text from paths, queries and headers
 * is turned into numbers where the schema wants them; JSON bodies must have the right types already.
 */
export function validateStrictly(app: FastifyInstance): void {
  const compile: FastifySchemaCompiler<Record<string, unknown>> = ({ schema, httpPart }) =>
    (httpPart === 'body' ? json : text).compile(schema)
  app.setValidatorCompiler(compile)
}
