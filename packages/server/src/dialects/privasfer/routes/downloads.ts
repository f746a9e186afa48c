import { finished } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import {
  type DownloadContent,
  type Transfer,
  UnknownFilesError,
} from '../../../core/account-files/downloads.ts'
import type { Core } from '../../../core/core.ts'
import { sendDownload } from '../../../http/download.ts'
import type { DialectOptions } from '../../dialect.ts'
import { ownerOf } from '../auth.ts'
import { invalid } from '../errors.ts'
import { formatInstant } from '../render.ts'
import { sendZip } from '../zip.ts'

type KeyRequest = { Params: { download: string; key: string } }

const MOST_FILES = 1000

/** The documented «downloads» and «public download key». */
export function downloadRoutes(app: FastifyInstance, { core }: DialectOptions): void {
  app.post('/downloads', async (request, reply) => {
    const owner = ownerOf(request)
    const files = fileIds((request.body ?? {}) as { files?: unknown })
    const { id, createdAt } = await createDownload(core, owner.id, files)
    const created_at = formatInstant(createdAt, owner.profile.timeZone)
    return reply.code(201).send({ data: { id, created_at } })
  })

  app.post<{ Params: { id: string } }>('/downloads/:id/keys', async (request, reply) => {
    const { pinKey } = (request.body ?? {}) as { pinKey?: unknown }
    if (typeof pinKey !== 'string' || pinKey === '') {
      throw invalid({ pinKey: ['The pin key field is required.'] })
    }
    const key = await core.downloads.issueKey(ownerOf(request).id, request.params.id, pinKey)
    return reply.code(201).send({ data: { key } })
  })
}

/** The address that a key opens: whoever has it needs no token. */
export function capabilityRoute(app: FastifyInstance, { core }: DialectOptions, url: string): void {
  app.route<KeyRequest>({
    method: ['GET', 'HEAD'],
    url,
    config: { public: true },
    handler: async (request, reply) => {
      const { download, key } = request.params
      if (request.method === 'HEAD') {
        return sendContent(core, request, reply, await core.downloads.look(download, key))
      }
      const transfer = await core.downloads.start(download, key)
      return sendTransfer(core, request, reply, transfer)
    },
  })
}

/** Sends a download and ends it: used up when its last byte went out, otherwise to be continued. */
async function sendTransfer(
  core: Core,
  request: FastifyRequest,
  reply: FastifyReply,
  transfer: Transfer,
): Promise<FastifyReply> {
  let reachesEnd = false
  finished(reply.raw, (error) => {
    // An answer that came instead of the bytes used nothing.
    const isSent = !error && reachesEnd && reply.raw.statusCode < 300
    void transfer.end(isSent).catch((failure: unknown) => {
      request.server.reportFailure(request, failure)
    })
  })
  return sendContent(core, request, reply, transfer, () => {
    reachesEnd = true
  })
}

/** @param onLastByte called when what is sent includes the last byte of the whole */
function sendContent(
  core: Core,
  request: FastifyRequest,
  reply: FastifyReply,
  { files }: DownloadContent,
  onLastByte: () => void = () => undefined,
): Promise<FastifyReply> | FastifyReply {
  const [only, ...more] = files
  if (!only || more.length > 0) return sendZip(core, request, reply, files, onLastByte)
  const { file, blob } = only
  return sendDownload(request, reply, {
    size: blob.size,
    version: blob.id,
    type: file.type,
    filename: file.fullName,
    read(start, end) {
      if (end === blob.size) onLastByte()
      return core.blobs.read(blob, start, end)
    },
  })
}

async function createDownload(core: Core, ownerId: string, files: readonly string[]) {
  try {
    return await core.downloads.create(ownerId, files)
  } catch (error) {
    if (!(error instanceof UnknownFilesError)) throw error
    const fields = error.positions.map((position) => `files.${position}`)
    throw invalid(
      Object.fromEntries(fields.map((field) => [field, [`The selected ${field} is invalid.`]])),
    )
  }
}

function fileIds({ files }: { files?: unknown }): string[] {
  if (files === undefined || files === null || (Array.isArray(files) && files.length === 0)) {
    throw invalid({ files: ['The files field is required.'] })
  }
  if (!Array.isArray(files)) throw invalid({ files: ['The files must be an array.'] })
  if (files.length > MOST_FILES) {
    throw invalid({ files: [`The files may not have more than ${MOST_FILES} items.`] })
  }
  return files.map((id: unknown, position) => {
    if (typeof id === 'string') return id
    const field = `files.${position}`
    throw invalid({ [field]: [`The ${field} must be a string.`] })
  })
}
