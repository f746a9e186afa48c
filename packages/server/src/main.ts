import { pino } from 'pino'
import { loadConfig } from './config.ts'
import { isMendable } from './mendable.ts'
import { type Server, startServer } from './server.ts'

/** Requests that still run after this are cut: a stop takes 10 seconds at most. */
const GRACE_MS = 8000
const IDLE_CHECK_MS = 100

async function main(): Promise<void> {
  const config = loadConfig()
  const logger = pino({ level: config.logLevel }, pino.destination(2))
  const server = await startServer(config, logger, (error) => {
    logger.fatal({ err: error }, 'the disk does not take what was promised')
    process.exit(1)
  })
  stopOnSignal(server)

  if (server.madeRootKey) {
    say(`Made the root key ${config.rootKeyFile}.`)
    say('Nothing can be read without it: keep a copy in another place than the data.')
  }
  if (!(await server.core.identities.hasPerson())) {
    say("Nobody is known yet: npx holdfast user create --email you@example.com --name 'Your Name'")
  }
  say(`Holdfast listens on ${server.address}`)
}

function stopOnSignal(server: Server): void {
  function stop(): void {
    const { server: http } = server.app
    // Connections that answer their last request now would be kept alive for the next.
    setInterval(() => http.closeIdleConnections(), IDLE_CHECK_MS).unref()
    setTimeout(() => http.closeAllConnections(), GRACE_MS).unref()
    void server.close().then(() => process.exit(0))
  }
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

try {
  await main()
} catch (error) {
  if (!isMendable(error)) throw error
  process.stderr.write(`holdfast: ${error.message}\n`)
  process.exit(2)
}
