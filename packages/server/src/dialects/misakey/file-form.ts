import type { FastifyRequest } from 'fastify'
import type { StagedBlob } from '../../core/blobs/blobs.ts'
import type { Core } from '../../core/core.ts'
import { readForm } from '../../http/multipart.ts'
import type { DialectSettings } from '../dialect.ts'
import { type Faults, fieldErrors, MisakeyError, REQUIRED } from './errors.ts'

const FILE_PART = 'encrypted_file'
const MIB = 1024 * 1024

/** A form whose file is stored and whose fields have no faults. */
export interface FileForm {
  readonly file: StagedBlob
  readonly fields: ReadonlyMap<string, string>
}

/**
 * Reads a form with one encrypted file and stores the file. Real clients send it before the fields:
 * what was stored is dropped when one of them turns out to be wrong.
 *
 * @param faultsOf what is wrong with the fields; it may throw another refusal
 * @throws MisakeyError, RequestError, CoreError
 */
export async function readFileForm(
  request: FastifyRequest,
  core: Core,
  settings: DialectSettings,
  faultsOf: (fields: ReadonlyMap<string, string>) => Faults,
): Promise<FileForm> {
  const limit = settings.boxFileMaxMb * MIB
  const { file, fields } = await readForm(request, {
    field: FILE_PART,
    receive: ({ bytes }) => core.blobs.stage(bytes, limit),
    drop: core.blobs.discard,
  })
  if (!file) throw new MisakeyError(400, 'body', 'no file', { [FILE_PART]: 'required' })
  try {
    const faults = { ...faultsOf(fields), ...(file.size === 0 && { size: REQUIRED }) }
    if (Object.keys(faults).length > 0) throw fieldErrors(faults)
    return { file, fields }
  } catch (error) {
    await core.blobs.discard(file)
    throw error
  }
}
