/** As little as a Node server can do, on a port of loopback: says how long a process waits for a core. */
import { createServer } from 'node:http'

const [port = ''] = process.argv.slice(2)

createServer((_request, response) => {
  response.writeHead(200, { 'content-length': 2 }).end('ok')
}).listen(Number(port), '127.0.0.1')
