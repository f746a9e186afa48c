import type { FastifyInstance } from 'fastify'
import type { StagedBlob } from '../../../core/blobs.ts'
import { sendDownload } from '../../../http/download.ts'
import { type Form, readForm } from '../../../http/multipart.ts'
import type { DialectOptions } from '../../dialect.ts'
import { actorOf } from '../auth.ts'
import { fieldErrors, MALFORMED, MisakeyError, REQUIRED } from '../errors.ts'
import { renderEvent } from '../render.ts'
import { IdParams } from '../schemas.ts'
import { viewerOf } from './events.ts'

const MIB = 1024 * 1024
const FILE_PART = 'encrypted_file'
/** Either alphabet, padded or not: what is meant is decided by clients, and kept verbatim. */
const BASE64 = /^[A-Za-z0-9+/_-]+={0,2}$/
const PUBLIC_KEY = /^(com\.misakey\.aes-rsa-enc:)?[A-Za-z0-9_-]+$/

/** Seed «Files Upload & Download», 2.3 and 2.4. */
export function boxFileRoutes(app: FastifyInstance, { core, settings }: DialectOptions): void {
  const limit = settings.boxFileMaxMb * MIB

  app.post<{ Params: { id: string } }>(
    '/boxes/:id/encrypted-files',
    { config: { machines: true }, schema: { params: IdParams } },
    async (request, reply) => {
      const { identityId } = actorOf(request)
      const boxId = request.params.id
      // Strangers are refused before anything they send is stored.
      await core.boxes.requireMember(identityId, boxId)
      const form = await readForm(request, {
        field: FILE_PART,
        receive: ({ bytes }) => core.blobs.stage(bytes, limit),
        drop: core.blobs.discard,
      })
      const { file, message } = await checkedForm(form)
      const event = await core.boxMessages.sendFile(identityId, boxId, file, message)
      const viewer = await viewerOf(core, identityId, boxId)
      return reply.code(201).send(renderEvent(event, viewer))
    },
  )

  /** The parts that the seed asks for; what was stored is dropped when one is missing. */
  async function checkedForm({ fields, file }: Form<StagedBlob>) {
    if (!file) throw new MisakeyError(400, 'body', 'no file', { [FILE_PART]: 'required' })
    const encrypted = fields.get('msg_encrypted_content') ?? ''
    const publicKey = fields.get('msg_public_key') || undefined
    const faults = {
      ...(encrypted === '' && { msg_encrypted_content: REQUIRED }),
      ...(encrypted !== '' && !BASE64.test(encrypted) && { msg_encrypted_content: MALFORMED }),
      ...(publicKey !== undefined && !PUBLIC_KEY.test(publicKey) && { msg_public_key: MALFORMED }),
      ...(file.size === 0 && { size: REQUIRED }),
    }
    if (Object.keys(faults).length > 0) {
      await core.blobs.discard(file)
      throw fieldErrors(faults)
    }
    return { file, message: { encrypted, publicKey } }
  }

  app.route<{ Params: { id: string } }>({
    method: ['GET', 'HEAD'],
    url: '/encrypted-files/:id',
    config: { machines: true },
    schema: { params: IdParams },
    handler: async (request, reply) => {
      const blob = await core.boxFiles.readable(actorOf(request).identityId, request.params.id)
      return sendDownload(request, reply, {
        size: blob.size,
        version: blob.id,
        type: 'application/octet-stream',
        read: (start, end) => core.blobs.read(blob, start, end),
      })
    },
  })
}
