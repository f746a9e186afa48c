import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { sendDownload } from '../../../http/download.ts'
import { FormFile } from '../../../http/openapi.ts'
import type { DialectOptions } from '../../dialect.ts'
import { actorOf } from '../auth.ts'
import { type Faults, MALFORMED, REQUIRED } from '../errors.ts'
import { readFileForm } from '../file-form.ts'
import { renderEvent } from '../render.ts'
import { IdParams, PUBLIC_KEY_PATTERN, PublicKey } from '../schemas.ts'
import { viewerOf } from './events.ts'

/** Either alphabet, padded or not: what is meant is decided by clients, and kept verbatim. */
const BASE64 = /^[A-Za-z0-9+/_-]+={0,2}$/
const PUBLIC_KEY = new RegExp(PUBLIC_KEY_PATTERN)

const MessageForm = Type.Object({
  encrypted_file: FormFile,
  msg_encrypted_content: Type.String(),
  msg_public_key: Type.Optional(PublicKey),
})

/** Seed «Files Upload & Download», 2.4. */
export function boxFileRoutes(app: FastifyInstance, { core }: DialectOptions): void {
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

/** Seed «Files Upload & Download», 2.3. */
export function boxFileUploadRoutes(
  app: FastifyInstance,
  { core, settings }: DialectOptions,
): void {
  app.post<{ Params: { id: string } }>(
    '/boxes/:id/encrypted-files',
    { config: { machines: true, form: MessageForm }, schema: { params: IdParams } },
    async (request, reply) => {
      const { identityId } = actorOf(request)
      const boxId = request.params.id
      // Strangers are refused before anything they send is stored.
      await core.boxes.requireMember(identityId, boxId)
      const { file, fields } = await readFileForm(request, core, settings, messageFaults)
      const event = await core.boxMessages.sendFile(identityId, boxId, file, {
        encrypted: fields.get('msg_encrypted_content') ?? '',
        publicKey: fields.get('msg_public_key') || undefined,
      })
      return reply.code(201).send(renderEvent(event, await viewerOf(core, identityId, boxId)))
    },
  )
}

function messageFaults(fields: ReadonlyMap<string, string>): Faults {
  const encrypted = fields.get('msg_encrypted_content') ?? ''
  const publicKey = fields.get('msg_public_key') ?? ''
  return {
    ...(encrypted === '' && { msg_encrypted_content: REQUIRED }),
    ...(encrypted !== '' && !BASE64.test(encrypted) && { msg_encrypted_content: MALFORMED }),
    ...(publicKey !== '' && !PUBLIC_KEY.test(publicKey) && { msg_public_key: MALFORMED }),
  }
}
