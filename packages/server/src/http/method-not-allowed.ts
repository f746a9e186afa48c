import type { FastifyInstance } from 'fastify'
import { RequestError } from './request-error.ts'

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Of a route that only refuses: the methods that its path has. */
    allow?: string
  }
}

/**
 * Answers known paths with unknown verbs by 405 and `Allow`, in the shape of the dialect whose routes
 * are registered before `finish`; call it ahead of hooks that ask who calls. Without this a router
 * answers 404.
 */
export function refuseOtherMethods(app: FastifyInstance): { finish(): void } {
  const known = new Map<string, Set<string>>()
  // Ahead of the handler, so that neither the caller nor the body is looked at.
  app.addHook('onRequest', async (request, reply) => {
    const { allow } = request.routeOptions.config
    if (allow === undefined) return
    reply.header('allow', allow)
    throw new RequestError('method_not_allowed', `only ${allow}`)
  })
  app.addHook('onRoute', ({ routePath: url, method }) => {
    const methods = known.get(url) ?? new Set()
    for (const one of [method].flat()) methods.add(one)
    known.set(url, methods)
  })
  return {
    finish() {
      for (const [url, methods] of [...known]) {
        const allow = [...methods].sort((a, b) => a.localeCompare(b)).join(', ')
        const others = METHODS.filter((method) => !methods.has(method))
        if (others.length === 0) continue
        app.route({
          method: others,
          url,
          config: { allow },
          handler: async () => undefined,
        })
      }
    },
  }
}
