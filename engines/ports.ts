import { createServer } from 'node:net'

/** An engine's ports lie within so many. */
const PORTS = 200

/** The first of some ports that nobody listens on; below those that the system gives out by itself. */
export async function freePorts(): Promise<number> {
  for (;;) {
    const first = 10_000 + Math.floor(Math.random() * 100) * PORTS
    const isFree = await Promise.all([first, first + 50, first + 100].map(isFreePort))
    if (isFree.every(Boolean)) return first
  }
}

function isFreePort(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
