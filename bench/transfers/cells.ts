import type { Job } from './client.ts'

const KIB = 1024
const MIB = 1024 * KIB

/** Bytes of uploads that would fill the disk if they stayed. */
export const CLEANED_FROM = MIB

/** One kind of work, done by each contestant in turn. */
export interface Cell {
  readonly id: string
  readonly title: string
  readonly kind: 'upload' | 'download'
  /** Bytes of each file. */
  readonly size: number
  /** How many of them are downloaded in turn. */
  readonly files: number
  readonly requests: number
  readonly connections: number
  readonly range?: Job['range']
}

/** In this order: uploads are cleaned away before anything is prepared for downloads. */
export const CELLS: readonly Cell[] = [
  upload('up-10k', '10 KiB × 16', 10 * KIB, 3000, 16),
  upload('up-256m', '256 MiB × 1', 256 * MIB, 2, 1),
  upload('up-8m', '8 MiB × 4', 8 * MIB, 32, 4),
  upload('up-1m', '1 MiB × 16', MIB, 192, 16),
  download('down-256m', '256 MiB × 1', 256 * MIB, 1, 3, 1),
  download('down-8m', '8 MiB × 4', 8 * MIB, 16, 64, 4),
  download('down-1m', '1 MiB × 16', MIB, 64, 512, 16),
  download('down-10k', '10 KiB × 16', 10 * KIB, 200, 6000, 16),
  {
    ...download('range-64k', '64 KiB out of 1 GiB × 16', 1024 * MIB, 1, 3000, 16),
    range: { length: 64 * KIB, of: 1024 * MIB },
  },
]

function upload(
  id: string,
  title: string,
  size: number,
  requests: number,
  connections: number,
): Cell {
  return { id, title: `upload ${title}`, kind: 'upload', size, files: 0, requests, connections }
}

function download(
  id: string,
  title: string,
  size: number,
  files: number,
  requests: number,
  connections: number,
): Cell {
  return { id, title: `download ${title}`, kind: 'download', size, files, requests, connections }
}
