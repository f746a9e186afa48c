import type { FastifyInstance } from 'fastify'
import type { DialectOptions } from '../../dialect.ts'
import { callerOf } from '../auth.ts'
import { chunkSizeOf, claimOf } from '../parameters.ts'
import { renderFile, renderState } from '../render.ts'

/** The parameters of a path to a file. */
export interface FileParams {
  company_id: string
  id: string
}

/** Seed «General»: what there is to know of a file; and its removal. */
export function fileRoutes(app: FastifyInstance, { core }: DialectOptions): void {
  const url = '/companies/:company_id/files/:id'

  app.get<{ Params: FileParams }>(url, async (request, reply) => {
    const caller = callerOf(request)
    const { id } = request.params
    const claim = claimOf(request.query)
    // A client that resumes asks in this way for each chunk; 200 says that it is here, anything else is not.
    if (claim.number !== undefined) {
      const has = await core.companyUploads.has(caller, id, claim, chunkSizeOf(request.query))
      if (!has) return reply.code(204).send()
    }
    return renderFile(await core.companyFiles.get(caller, id))
  })

  app.get<{ Params: FileParams }>(`${url}/upload`, async (request) => {
    const caller = callerOf(request)
    const { id } = request.params
    return renderState(caller.companyId, id, await core.companyUploads.state(caller, id))
  })

  app.delete<{ Params: FileParams }>(url, async (request) => {
    await core.companyFiles.remove(callerOf(request), request.params.id)
    return { status: 'success' }
  })
}
