import { pino } from 'pino'
import { ConfigError, loadConfig } from './config.ts'
import { KeyringError } from './core/keyring.ts'
import { type Server, startServer } from './server.ts'
import { FolderError } from './store/folder.ts'
import { RootKeyError } from './store/root-key.ts'

/** Requests that still run after this are cut: a stop takes 10 seconds at most. */
const GRACE_MS = 8000

/** Errors that the operator mends; anything else is a bug and is shown whole. */
const EXPECTED = [ConfigError, FolderError, RootKeyError, KeyringError]

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
    setTimeout(() => server.app.server.closeAllConnections(), GRACE_MS).unref()
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
  if (!EXPECTED.some((kind) => error instanceof kind)) throw error
  process.stderr.write(`holdfast: ${(error as Error).message}\n`)
  process.exit(2)
}
