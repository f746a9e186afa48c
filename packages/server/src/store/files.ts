import fs from 'node:fs/promises'

/**
 * What the blob folder asks of the operating system. The tests have a second one, which lets any call
 * of any kind fail.
 */
export type Files = Pick<
  typeof fs,
  'link' | 'mkdir' | 'open' | 'opendir' | 'rename' | 'stat' | 'unlink'
>

export const nodeFiles: Files = fs
