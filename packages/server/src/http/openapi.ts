import swagger from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'
import { type TSchema, Type } from 'typebox'
import manifest from '../../package.json' with { type: 'json' }

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The parts of a form, for the document: the body itself is read by hand. */
    form?: TSchema
    /** Asks for no sign-in. */
    public?: boolean
  }
}

/** How a dialect is called, signed in to, and what it answers. */
export interface Description {
  /** The document is at `/openapi/<name>.json`. */
  readonly name: string
  readonly title: string
  /** Security schemes of OpenAPI, by name; any one of them will do. */
  readonly security: Record<string, SecurityScheme>
  /** What a refusal looks like, whatever was asked. */
  readonly refusal: TSchema
  /**
   * By `METHOD /path`, with parameters as the router writes them: answers by status. What is not
   * here is left out: the HEAD that goes with every GET.
   */
  readonly answers: Readonly<Record<string, Record<number, TSchema | object>>>
}

type SecurityScheme =
  | { type: 'http'; scheme: 'bearer' }
  | { type: 'apiKey'; in: 'cookie' | 'header'; name: string }

/**
 * Names the dialect of this scope, for metrics, and serves an OpenAPI document of all routes that are
 * registered in it afterwards.
 */
export async function describeDialect(
  app: FastifyInstance,
  { name, title, security, refusal, answers }: Description,
): Promise<void> {
  app.decorate('dialect', name)
  // A counter that is there from the start can be watched before anything fails.
  app.metrics.integrityFailures.inc({ dialect: name }, 0)
  await app.register(swagger, {
    exposeHeadRoutes: true,
    openapi: {
      openapi: '3.1.0',
      info: { title, version: manifest.version },
      components: { securitySchemes: security },
    },
    transform: ({ schema, url, route }) => {
      const { allow, form, public: open } = route.config ?? {}
      const [method] = [route.method].flat()
      const described = answers[`${method} ${url}`]
      const automatic = method === 'HEAD' && !described
      const hide = automatic || allow !== undefined || schema?.hide === true
      if (!hide && !described) throw new Error(`${method} ${url} has no described answers`)
      return {
        url,
        schema: {
          ...schema,
          hide,
          ...(form && { body: form, consumes: ['multipart/form-data'] }),
          response: { ...described, '4xx': refusal, '5xx': refusal },
          security: open ? [] : Object.keys(security).map((scheme) => ({ [scheme]: [] })),
        },
      }
    },
  })
  const document = { config: { public: true }, schema: { hide: true } }
  app.get(`/openapi/${name}.json`, document, async () => app.swagger())
}

/** An answer without a body. */
export const NoContent = { description: 'nothing', type: 'null' }

/** An answer of stored bytes. */
export const Bytes = {
  description: 'the bytes',
  content: { '*/*': { schema: { type: 'string', format: 'binary' } } },
}

/** A file in a form. */
export const FormFile = Type.Unsafe<string>({ type: 'string', format: 'binary' })

export function nullable<T extends TSchema>(schema: T) {
  return Type.Union([schema, Type.Null()])
}
