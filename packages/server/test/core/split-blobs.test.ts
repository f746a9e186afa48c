import { openDiskStore } from '../../src/store/blobs/disk.ts'
import { testFolder } from '../helpers/cleanup.ts'
import { splitBlobsSuite } from './split-blobs.suite.ts'

splitBlobsSuite('a disk', async (t) => openDiskStore(await testFolder(t)))
