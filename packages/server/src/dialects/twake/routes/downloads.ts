import type { FastifyInstance } from 'fastify'
import { cleanFileName } from '../../../core/file-names.ts'
import { sendDownload } from '../../../http/download.ts'
import { publicUrlOf } from '../../../http/public-url.ts'
import type { DialectOptions } from '../../dialect.ts'
import { callerOf } from '../auth.ts'
import { linkTo, pathOf } from '../links.ts'
import { thumbnailName } from '../render.ts'
import type { FileParams } from './files.ts'

const READ = ['GET', 'HEAD']
const INDEX = /^\d{1,3}$/
/** A year: they change only with an overwrite, and whoever does that may ask with another query. */
const THUMBNAIL_SECONDS = 365 * 24 * 3600
/** Anything else that somebody called a type is not sent as one. */
const MEDIA_TYPE = /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+( *; *[\w-]+=([\w.+-]+|"[\w .+-]*"))*$/

/** Seed «General», download; thumbnails; and links to both that need no token. */
export function downloadRoutes(app: FastifyInstance, { core, settings }: DialectOptions): void {
  const url = '/companies/:company_id/files/:id'

  app.route<{ Params: FileParams }>({
    method: READ,
    url: `${url}/download`,
    config: { links: true },
    handler: async (request, reply) => {
      const { text, blob, close } = await core.companyFiles.open(
        callerOf(request),
        request.params.id,
      )
      reply.raw.once('close', close)
      return sendDownload(request, reply, {
        size: blob.size,
        version: blob.id,
        type: MEDIA_TYPE.test(text.mime) ? text.mime : 'application/octet-stream',
        filename: cleanFileName(text.name),
        embeddable: request.headers.authorization === undefined,
        read: (start, end) => core.blobs.read(blob, start, end),
      })
    },
  })

  app.route<{ Params: FileParams & { index: string } }>({
    method: READ,
    url: `${url}/thumbnails/:index`,
    config: { links: true },
    handler: async (request, reply) => {
      const { id, index } = request.params
      const position = INDEX.test(index) ? Number(index) : -1
      const preview = await core.companyFiles.preview(callerOf(request), id, position)
      const { blob, type } = preview
      return sendDownload(request, reply, {
        ...{ size: blob.size, version: blob.id, type },
        filename: thumbnailName(position, preview),
        inline: true,
        maxAge: THUMBNAIL_SECONDS,
        embeddable: request.headers.authorization === undefined,
        read: (start, end) => core.blobs.read(blob, start, end),
      })
    },
  })

  for (const target of ['download', 'thumbnails/:index']) {
    app.get<{ Params: FileParams }>(`${url}/${target}/url`, async (request) => {
      const caller = callerOf(request)
      await core.companyFiles.get(caller, request.params.id)
      const path = pathOf(request).slice(0, -'/url'.length)
      const seal = core.links.sign(caller.identityId, path)
      const link = linkTo(path, seal)
      return {
        resource: {
          url: link,
          full_url: `${publicUrlOf(request, settings)}${link}`,
          expires_at: seal.expires * 1000,
        },
      }
    })
  }
}
