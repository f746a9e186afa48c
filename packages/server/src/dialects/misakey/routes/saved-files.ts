import type { FastifyInstance, FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import type { SavedFile } from '../../../core/saved-files/saved-files.ts'
import { FormFile } from '../../../http/openapi.ts'
import type { DialectOptions } from '../../dialect.ts'
import { actorOf, requireSelf } from '../auth.ts'
import { type Faults, REQUIRED } from '../errors.ts'
import { readFileForm } from '../file-form.ts'
import { renderInstant } from '../render.ts'
import { DEFAULT_LIMIT, IdParams, PageQuery, Uuid } from '../schemas.ts'

/** `id` and `created_at` may be sent, as the seed does; they are the server's and are ignored. */
const SavedFileBody = Type.Object({
  encrypted_file_id: Uuid,
  identity_id: Uuid,
  encrypted_metadata: Type.String({ minLength: 1 }),
  key_fingerprint: Type.String({ minLength: 1 }),
})

const OwnerQuery = Type.Object({ identity_id: Type.Optional(Uuid) })
const ListQuery = Type.Object({ ...OwnerQuery.properties, ...PageQuery })

const SavedFileForm = Type.Object({
  encrypted_file: FormFile,
  encrypted_metadata: Type.String(),
  key_fingerprint: Type.String(),
})

/** Seed «Saved Files», all of it for people with a password (ACR 2). */
export function savedFileRoutes(app: FastifyInstance, { core }: DialectOptions): void {
  const config = { acr: 2 } as const

  app.post<{ Body: Static<typeof SavedFileBody> }>(
    '/saved-files',
    { config, schema: { body: SavedFileBody } },
    async (request, reply) => {
      const { identity_id, encrypted_file_id, encrypted_metadata, key_fingerprint } = request.body
      requireSelf(request, identity_id, { identity_id: 'forbidden' })
      const saved = await core.savedFiles.save(identity_id, encrypted_file_id, {
        encryptedMetadata: encrypted_metadata,
        keyFingerprint: key_fingerprint,
      })
      return reply.code(201).send(renderSavedFile(saved))
    },
  )

  // Before its GET, or the framework would answer HEAD by it.
  app.head<{ Querystring: Static<typeof OwnerQuery> }>(
    '/saved-files',
    { config, schema: { querystring: OwnerQuery } },
    async (request, reply) => {
      const count = await core.savedFiles.count(ownerOf(request))
      return reply.code(204).header('x-total-count', count).send()
    },
  )

  app.get<{ Querystring: Static<typeof ListQuery> }>(
    '/saved-files',
    { config, schema: { querystring: ListQuery } },
    async (request) => {
      const { offset, limit = DEFAULT_LIMIT } = request.query
      const saved = await core.savedFiles.list(ownerOf(request), { offset, limit })
      return saved.map(renderSavedFile)
    },
  )

  app.delete<{ Params: { id: string } }>(
    '/saved-files/:id',
    { config, schema: { params: IdParams } },
    async (request, reply) => {
      await core.savedFiles.remove(actorOf(request).identityId, request.params.id)
      return reply.code(204).send()
    },
  )
}

/** The upload that needs no box. */
export function savedFileUploadRoutes(
  app: FastifyInstance,
  { core, settings }: DialectOptions,
): void {
  app.post<{ Params: { id: string } }>(
    '/box-users/:id/saved-files',
    { config: { acr: 2, form: SavedFileForm }, schema: { params: IdParams } },
    async (request, reply) => {
      const { id } = request.params
      // Strangers are refused before anything they send is stored.
      requireSelf(request, id)
      const { file, fields } = await readFileForm(request, core, settings, textFaults)
      const saved = await core.savedFiles.saveUpload(id, file, {
        encryptedMetadata: fields.get('encrypted_metadata') ?? '',
        keyFingerprint: fields.get('key_fingerprint') ?? '',
      })
      return reply.code(201).send(renderSavedFile(saved))
    },
  )
}

function textFaults(fields: ReadonlyMap<string, string>): Faults {
  const missing = ['encrypted_metadata', 'key_fingerprint'].filter((name) => !fields.get(name))
  return Object.fromEntries(missing.map((name) => [name, REQUIRED]))
}

/** Whose saved files are asked for: one's own, said or not. */
function ownerOf(request: FastifyRequest<{ Querystring: Static<typeof OwnerQuery> }>): string {
  const { identityId } = actorOf(request)
  requireSelf(request, request.query.identity_id ?? identityId, { identity_id: 'forbidden' })
  return identityId
}

function renderSavedFile(saved: SavedFile) {
  return {
    id: saved.id,
    identity_id: saved.identityId,
    encrypted_file_id: saved.fileId,
    encrypted_metadata: saved.encryptedMetadata,
    key_fingerprint: saved.keyFingerprint,
    created_at: renderInstant(saved.createdAt),
  }
}
