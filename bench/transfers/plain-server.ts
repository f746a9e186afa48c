/** What Node does without Holdfast: a body streams into a file, a file into an answer, nothing else. */
import { createReadStream, createWriteStream, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'

const [folder = '', port = ''] = process.argv.slice(2)

const server = createServer(async (request, response) => {
  const file = join(folder, String(request.url))
  if (request.method === 'PUT') {
    await pipeline(request, createWriteStream(file, { flags: 'wx' }))
    response.writeHead(201, { 'content-length': 0 }).end()
    return
  }
  response.setHeader('content-length', statSync(file).size)
  await pipeline(createReadStream(file), response)
})
server.listen(Number(port), '127.0.0.1')
