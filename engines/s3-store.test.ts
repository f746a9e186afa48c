import { describe } from 'node:test'
import { openS3Store } from '../packages/server/src/store/blobs/s3/store.ts'
import { atEnd } from '../packages/server/test/helpers/cleanup.ts'
import { blobStoreSuite } from '../packages/server/test/store/blob-store.suite.ts'
import { startCeph } from './ceph.ts'

const ceph = await startCeph()

if (typeof ceph === 'string') {
  describe('a blob store on S3', { skip: ceph }, () => undefined)
} else {
  blobStoreSuite('S3', async (t) => {
    const store = await openS3Store(ceph.place())
    atEnd(t, () => store.close())
    return store
  })
}
