/** What Node does without Holdfast: a body streams into a file, a file into an answer, nothing else. */
import { createReadStream, createWriteStream, statSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'

const [folder = '', port = ''] = process.argv.slice(2)

const server = createServer((request, response) => {
  const file = join(folder, String(request.url))
  const answered =
    request.method === 'PUT' ? store(file, request, response) : send(file, request, response)
  // A client that leaves is no reason to end.
  answered.catch(() => response.destroy())
})
server.listen(Number(port), '127.0.0.1')

async function store(
  file: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  await pipeline(request, createWriteStream(file, { flags: 'wx' }))
  response.writeHead(201, { 'content-length': 0 }).end()
}

async function send(
  file: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
  const start = Number(first ?? 0)
  const end = last === undefined ? statSync(file).size - 1 : Number(last)
  response.writeHead(first === undefined ? 200 : 206, { 'content-length': end - start + 1 })
  await pipeline(createReadStream(file, { start, end }), response)
}
