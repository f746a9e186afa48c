/** A bucket, or a part of one, that holds the objects of one store. */
export interface S3Place {
  readonly bucket: string
  /** What every key begins with: empty, or ending with a slash. */
  readonly prefix: string
  /** An http or https address for stores other than Amazon's; addresses are then path-style. */
  readonly endpoint: string | undefined
  readonly region: string
  /** Undefined: a profile of the shared AWS files. */
  readonly credentials: S3Credentials | undefined
}

export interface S3Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
}

/** How a place is called in messages. */
export function placeName({ bucket, prefix }: S3Place): string {
  return `s3://${bucket}/${prefix}`
}

/** A bucket that cannot be used; the message says what the operator should do. */
export class BucketError extends Error {
  override name = 'BucketError'
}
