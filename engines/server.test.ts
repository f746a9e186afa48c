/**
 * The server's own tests of files, with their blobs in a bucket. Left out are those that damage files
 * in the data folder, or look for open or unfinished ones there.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync } from 'node:fs'
import { test } from 'node:test'
import { startCeph } from './ceph.ts'
import { CREDENTIALS } from './ceph-client.ts'

const TESTS = 'packages/server/test'
const CORE = ['company-files', 'company-files.model', 'saved-files.links']
const LOOK_INTO_THE_FOLDER = ['misakey/damage', 'twake/damage']
const LOOK_FOR_FILES = [
  'nothing is left of an upload whose client leaves half way',
  'who leaves the box or loses it while she sends is refused, and nothing is kept',
  'a copy that began before the file was whole, ends after it and is ',
  'an upload that breaks off leaves nothing',
  'names arrive as they were given, and the download offers them safely',
  'the encrypted size is what lies on the disk, or in the database',
  'a zip is made while it is sent, and a client that leaves leaves no file open',
]

const ceph = await startCeph()

test('the server passes its tests of files with blobs in a bucket', {
  skip: typeof ceph === 'string' && ceph,
}, async () => {
  if (typeof ceph === 'string') return
  const files = [
    ...CORE.map((name) => `${TESTS}/core/${name}.test.ts`),
    'e2e/races.test.ts',
    ...globSync(`${TESTS}/dialects/{misakey,privasfer,twake}/*.test.ts`).filter(
      (file) => !LOOK_INTO_THE_FOLDER.some((name) => file.endsWith(`${name}.test.ts`)),
    ),
  ]
  const skipped = LOOK_FOR_FILES.map((name) => `--test-skip-pattern=^${name}`)
  const words = ['--test', '--test-concurrency=2', '--test-timeout=120000', ...skipped, ...files]
  const child = spawn(process.execPath, words, {
    stdio: 'inherit',
    env: {
      ...process.env,
      // A runner within a runner reports to it otherwise.
      NODE_TEST_CONTEXT: undefined,
      HOLDFAST_TEST_BLOBS_URL: `s3://${ceph.bucket}?endpoint=${ceph.endpoint}`,
      AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
    },
  })
  const [code] = (await once(child, 'exit')) as [number | null]
  if (code !== 0) throw new Error(`the tests ended with ${code}`)
})
