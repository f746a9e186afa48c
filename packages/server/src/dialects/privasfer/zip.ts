import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { ZipFile } from 'yazl'
import type { DownloadContent } from '../../core/account-files/downloads.ts'
import type { Core } from '../../core/core.ts'
import { splitFileName } from '../../core/file-names.ts'

/** Sends several files as one archive, made while it is sent: nothing of it is kept anywhere. */
export function sendZip(
  core: Core,
  request: FastifyRequest,
  reply: FastifyReply,
  files: DownloadContent['files'],
  onLastByte: () => void,
): FastifyReply {
  reply.headers({
    'content-type': 'application/zip',
    'content-disposition': 'attachment; filename="files.zip"',
    'cache-control': 'private, no-store',
    'content-security-policy': "sandbox; default-src 'none'",
    'cross-origin-resource-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
  })
  if (request.method === 'HEAD') return reply.send()

  /** Cuts the connection: what is missing must not look like the end. */
  function fail(error: unknown): void {
    request.server.reportFailure(request, error)
    reply.raw.destroy()
  }

  const zip = new ZipFile()
  // What is encrypted or a photo does not get smaller, and other requests want the processor.
  const options = { compress: false }
  const names = new Set<string>()
  let current: Readable | undefined
  for (const { file, blob } of files) {
    zip.addReadStreamLazy(
      uniqueName(entryName(file.fullName), names),
      { ...options, size: blob.size, mtime: new Date(file.createdAt) },
      (give) => {
        current = Readable.from(core.blobs.read(blob, 0, blob.size), { objectMode: false })
        // The archive does not listen, and an error that nobody hears ends the process.
        give(null, current.on('error', fail))
      },
    )
  }
  zip.on('error', fail)
  const archive = zip.outputStream as Readable
  archive.once('end', onLastByte)
  // A client that leaves leaves a file open otherwise.
  archive.once('close', () => current?.destroy())
  zip.end()
  return reply.send(archive)
}

/** Without what programs that unpack take for a drive or another folder. */
function entryName(fullName: string): string {
  if (/^\.+$/.test(fullName)) return fullName.replaceAll('.', '_')
  return fullName.replace(/^([a-z]):/i, '$1_')
}

/** `a.txt`, `a (2).txt`, …; some disks do not tell `A.txt` from `a.txt`. */
function uniqueName(fullName: string, taken: Set<string>): string {
  const { name, extension } = splitFileName(fullName)
  const suffix = extension === '' ? '' : `.${extension}`
  let unique = fullName
  for (let count = 2; taken.has(sameOnDisk(unique)); count += 1) {
    unique = `${name} (${count})${suffix}`
  }
  taken.add(sameOnDisk(unique))
  return unique
}

function sameOnDisk(name: string): string {
  return name.normalize('NFC').toLowerCase()
}
