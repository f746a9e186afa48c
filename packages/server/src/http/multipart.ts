import { finished, type Readable } from 'node:stream'
import { Busboy, type BusboyInstance } from '@fastify/busboy'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { failpoint } from '../core/failpoints.ts'
import { free } from '../core/memory.ts'
import { RequestError } from './request-error.ts'
import { createTurns } from './turns.ts'

/** How long a client may send nothing in the middle of a body. */
export const BODY_IDLE_MS = 30_000

/**
 * What a form with a file of a known name may have besides: fields, other files and part headers.
 * Where the first file of any name counts, the others are skipped however large they are.
 */
const BESIDE_FILE_BYTES = 4 * 1024 * 1024

/**
 * Of all uploads together in one turn of the event loop: about a millisecond of work. Up to 2 MiB of a
 * socket are read in a row otherwise, and 16 uploads keep everybody else waiting for 200 milliseconds.
 */
const BYTES_PER_TURN = 256 * 1024
const turns = createTurns(BYTES_PER_TURN)

const LIMITS = {
  fieldNameSize: 256,
  fieldSize: 1024 * 1024,
  fields: 50,
  files: 10,
  parts: 60,
  headerPairs: 50,
  headerSize: 16 * 1024,
}

/** A file part as it arrives. */
export interface FilePart {
  /** As the client wrote it, or undefined when it gave none. */
  readonly filename: string | undefined
  readonly type: string
  /** The text fields that stand before it. */
  readonly fields: ReadonlyMap<string, string>
  /** Each piece is freed when the next is asked for. */
  readonly bytes: AsyncIterable<Uint8Array>
}

/** What to do with the one file of a form. */
export interface FileReceiver<T> {
  /**
   * The name of the part that is taken, or undefined for the first file of any name; further ones and
   * other files are skipped.
   */
  readonly field: string | undefined
  /** Whether a part is a file only when it has a file name; otherwise every part of that name is. */
  readonly named?: boolean
  /** Whether a second part of that name is refused instead of skipped. */
  readonly single?: boolean
  receive(part: FilePart): Promise<T>
  /** Forgets what was received, when the rest of the form cannot be used. */
  drop(received: T): Promise<void>
}

export interface Form<T> {
  /** Text fields; of several with one name the first. */
  readonly fields: ReadonlyMap<string, string>
  readonly file: T | undefined
}

/** Leaves every body of the routes in this scope unread, for `readForm`. */
export function acceptForms(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('*', (_request, _payload, done) => done(null))
}

/** The same for forms alone: other bodies are read and refused as elsewhere. */
export function acceptFormsToo(scope: FastifyInstance): void {
  scope.addContentTypeParser('multipart/form-data', (_request, _payload, done) => done(null))
}

/**
 * Reads a `multipart/form-data` body, its fields in any order, with backpressure from the receiver
 * to the socket.
 *
 * @throws RequestError file_repeated, form_expected, form_malformed, form_too_large, body_incomplete, body_timeout,
 *   or what `receive` throws; whatever was received is dropped then
 */
export async function readForm<T>(
  request: FastifyRequest,
  receiver: FileReceiver<T>,
  idleMs = BODY_IDLE_MS,
): Promise<Form<T>> {
  const parser = createParser(request, receiver)
  const fields = new Map<string, string>()
  let receiving: Promise<T> | undefined
  let taken: Readable | undefined
  let received = 0
  let ofFile = 0

  try {
    await new Promise<void>((resolve, reject) => {
      parser.on('field', (name, value, nameCut, valueCut) => {
        if (nameCut || valueCut) reject(tooLarge(`the field ${name} is too long`))
        else if (!fields.has(name)) fields.set(name, value)
      })
      parser.on('file', (name, stream, filename, _encoding, type) => {
        // Its end is awaited below; without this an early end would be an uncaught error.
        stream.on('error', () => undefined)
        if (taken && receiver.single && name === receiver.field) {
          reject(new RequestError('file_repeated', `there is more than one ${name}`))
        }
        if (taken || (receiver.field !== undefined && name !== receiver.field)) {
          stream.resume()
          return
        }
        taken = stream
        receiving = receiver.receive({
          filename: filename || undefined,
          type,
          fields,
          bytes: freeing(stream, (count) => {
            ofFile += count
          }),
        })
        receiving.catch(reject)
      })
      for (const limit of ['partsLimit', 'filesLimit', 'fieldsLimit'] as const) {
        parser.on(limit, () => reject(tooLarge('the form has too many parts')))
      }
      parser.on('error', (cause) => {
        reject(new RequestError('form_malformed', 'the form is malformed', { cause }))
      })
      parser.on('finish', resolve)
      request.raw.on('data', (bytes: Buffer) => {
        received += bytes.byteLength
        const beside = receiver.field === undefined ? 0 : received - ofFile
        if (beside > BESIDE_FILE_BYTES) reject(tooLarge('the form is too long'))
      })
      watch(request, idleMs, reject)
      request.raw.pipe(parser)
    })
    const file = await receiving
    await failpoint('form.received')
    return { fields, file }
  } catch (error) {
    request.raw.unpipe(parser)
    taken?.destroy(error as Error)
    const received = await receiving?.catch(() => undefined)
    if (received !== undefined) await receiver.drop(received)
    throw error
  }
}

/** A file name as a person wrote it: browsers change three characters (HTML, multipart/form-data encoding). */
export function decodedFilename(filename: string): string {
  return filename.replace(/%22/g, '"').replace(/%0D/gi, '\r').replace(/%0A/gi, '\n')
}

async function* freeing(
  pieces: AsyncIterable<Uint8Array>,
  count: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  await failpoint('form.file-begun')
  for await (const piece of pieces) {
    count(piece.byteLength)
    await turns.take(piece.byteLength)
    yield piece
    free(piece)
  }
}

function createParser(
  request: FastifyRequest,
  { field, named }: Pick<FileReceiver<unknown>, 'field' | 'named'>,
): BusboyInstance {
  const contentType = request.headers['content-type'] ?? ''
  if (!/^multipart\/form-data\b/i.test(contentType)) {
    throw new RequestError('form_expected', 'the body must be multipart/form-data')
  }
  try {
    return new Busboy({
      headers: { ...request.headers, 'content-type': contentType },
      limits: LIMITS,
      preservePath: true,
      isPartAFile: (name, type, filename) =>
        filename !== undefined ||
        (field === undefined ? type === 'application/octet-stream' : !named && name === field),
    })
  } catch (cause) {
    throw new RequestError('form_malformed', 'the form is malformed', { cause })
  }
}

function tooLarge(message: string): RequestError {
  return new RequestError('form_too_large', message)
}

/** Notices a client that leaves or falls silent before the body's end. */
function watch(request: FastifyRequest, idleMs: number, fail: (error: RequestError) => void): void {
  const { raw } = request
  const timer = setTimeout(() => {
    fail(new RequestError('body_timeout', 'the body did not arrive in time'))
  }, idleMs)
  raw.on('data', () => timer.refresh())
  finished(raw, { writable: false }, (error) => {
    clearTimeout(timer)
    if (error) fail(new RequestError('body_incomplete', 'the body ended early', { cause: error }))
  })
}
