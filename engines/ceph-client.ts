import { S3Client } from '@aws-sdk/client-s3'

export const REGION = 'us-east-1'
/** Of the user that `scripts/engines/ceph-start` makes. */
export const CREDENTIALS = { accessKeyId: 'testaccess', secretAccessKey: 'testsecret12345678' }

/** A client of a Ceph that `scripts/engines/ceph-start` started. */
export function createCephClient(endpoint: string): S3Client {
  return new S3Client({
    endpoint,
    region: REGION,
    forcePathStyle: true,
    credentials: CREDENTIALS,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  })
}
