import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { AccountFile } from '../../../core/account-files/files.ts'
import type { AccountQuery } from '../../../core/account-files/list.ts'
import { CoreError } from '../../../core/errors.ts'
import { sendDownload } from '../../../http/download.ts'
import { acceptForms } from '../../../http/multipart.ts'
import { FormFile } from '../../../http/openapi.ts'
import { publicUrlOf } from '../../../http/public-url.ts'
import type { DialectOptions } from '../../dialect.ts'
import { ownerOf } from '../auth.ts'
import {
  accountQuery,
  includesCategory,
  type PageWanted,
  pageWanted,
  type Query,
} from '../query.ts'
import { renderFile, type View } from '../render.ts'
import { readUpload } from '../upload.ts'

type IdRequest = { Params: { id: string }; Querystring: Query }

/** Seed «Files», and `GET /files/:id/download`, which is ours. */
export async function fileRoutes(app: FastifyInstance, options: DialectOptions): Promise<void> {
  const { core, settings } = options

  async function viewOf(request: FastifyRequest, withCategory: boolean): Promise<View> {
    const owner = ownerOf(request)
    const category = withCategory ? await core.accountFiles.category(owner.id) : undefined
    return { owner, publicUrl: publicUrlOf(request, settings), category }
  }

  app.get<{ Querystring: Query }>('/files', async (request, reply) => {
    const query = accountQuery(request.query)
    const view = await viewOf(request, includesCategory(request.query))
    const wanted = pageWanted(request.query)
    if (wanted) return pageOf(request, query, view, wanted)
    const batches = core.accountList.all(view.owner.id, query)
    const json = Readable.from(listJson(batches, view), { objectMode: false })
    json.once('error', (error) => {
      // Before its first byte the error handler is told.
      if (reply.raw.headersSent) request.server.reportFailure(request, error)
    })
    return reply.type('application/json; charset=utf-8').send(json)
  })

  async function pageOf(
    request: FastifyRequest<{ Querystring: Query }>,
    query: AccountQuery,
    view: View,
    { page, perPage }: PageWanted,
  ) {
    const offset = (page - 1) * perPage
    const found = await core.accountList.page(view.owner.id, query, offset, perPage)
    const lastPage =
      found.total === undefined ? null : Math.max(1, Math.ceil(found.total / perPage))
    const path = `${view.publicUrl}/api/files`
    const link = (number: number) => `${path}?${pageQuery(request.query, number, perPage)}`
    return {
      data: found.files.map((file) => renderFile(file, view)),
      links: {
        first: link(1),
        last: lastPage === null ? null : link(lastPage),
        prev: page > 1 ? link(page - 1) : null,
        next: found.more ? link(page + 1) : null,
      },
      meta: {
        current_page: page,
        from: found.files.length > 0 ? offset + 1 : null,
        last_page: lastPage,
        path,
        per_page: perPage,
        to: found.files.length > 0 ? offset + found.files.length : null,
        total: found.total ?? null,
      },
    }
  }

  app.get<IdRequest>('/files/:id', async (request) => {
    const view = await viewOf(request, includesCategory(request.query))
    const file = await core.accountFiles.get(view.owner.id, request.params.id)
    return { data: renderFile(file, view) }
  })

  app.delete<IdRequest>('/files/:id', async (request, reply) => {
    await core.accountFiles.trash(ownerOf(request).id, request.params.id)
    return reply.code(204).send()
  })

  app.route<IdRequest>({
    method: ['GET', 'HEAD'],
    url: '/files/:id/download',
    handler: async (request, reply) => {
      const { id } = ownerOf(request)
      await requireUnlocked(request, id)
      const { file, blob } = await core.accountFiles.content(id, request.params.id)
      return sendDownload(request, reply, {
        size: blob.size,
        version: blob.id,
        type: file.type,
        filename: file.fullName,
        read: (start, end) => core.blobs.read(blob, start, end),
      })
    },
  })

  /** An account with a PIN asks for a key that the PIN gave. */
  async function requireUnlocked(request: FastifyRequest, ownerId: string): Promise<void> {
    if (!(await core.pins.isSet(ownerId))) return
    const key = request.headers['x-pin-key']
    if (typeof key === 'string' && (await core.pins.isUnlocked(ownerId, key))) return
    throw new CoreError('pin_needed', 'the account is locked')
  }

  const uploads: FastifyPluginAsync = async (scope) => {
    acceptForms(scope)
    const config = { form: Type.Object({ file: FormFile }) }
    scope.post('/files', { config }, async (request, reply) => {
      const owner = ownerOf(request)
      const quota = settings.accountQuota
      const { bytes } = await core.accountFiles.usage(owner.id)
      const { staged, name, type } = await readUpload(request, core, {
        file: settings.accountFileMax,
        room: quota === undefined ? undefined : Math.max(0, quota - bytes),
      })
      const file = await core.accountFiles.create(owner.id, staged, { name, type }, quota)
      const data = renderFile(file, await viewOf(request, true))
      return reply.code(201).send({ data, success: true })
    })
  }
  await app.register(uploads)
}

/** A list of any length, batch by batch. */
async function* listJson(
  batches: AsyncGenerator<AccountFile[]>,
  view: View,
): AsyncGenerator<string> {
  let before = '{"data":['
  for await (const batch of batches) {
    if (batch.length === 0) continue
    yield before + batch.map((file) => JSON.stringify(renderFile(file, view))).join(',')
    before = ','
  }
  yield before === ',' ? ']}' : `${before}]}`
}

function pageQuery(query: Query, page: number, perPage: number): string {
  const kept = Object.entries(query).flatMap(([name, value]) =>
    value === undefined || name === 'page' || name === 'per_page' || name.startsWith('page[')
      ? []
      : [value].flat().map((one): [string, string] => [name, one]),
  )
  const all = [...kept, ['per_page', String(perPage)], ['page', String(page)]]
  return new URLSearchParams(all as [string, string][]).toString()
}
