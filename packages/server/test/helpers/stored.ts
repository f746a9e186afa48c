import { readFile, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { partName } from '../../src/core/blobs/names.ts'
import type { TestServer } from './server.ts'
import { objectNames } from './test-blobs.ts'

/** The path of the first part of a stored file. */
export function storedPath(server: TestServer, fileId: string): string {
  return join(server.config.data, partName(fileId, 1))
}

/** Every file below one of the folders that hold content, whole or unfinished. */
export async function storedFiles(server: TestServer): Promise<string[]> {
  const found = await Promise.all(
    ['blobs', 'tmp'].map((folder) => objectNames(server.config, folder)),
  )
  return found.flat().map((name) => basename(name))
}

export async function flipByte(path: string, offset: number): Promise<void> {
  const bytes = await readFile(path)
  bytes[offset] = (bytes[offset] ?? 0) ^ 1
  await writeFile(path, bytes)
}

export async function swapFiles(one: string, other: string): Promise<void> {
  await rename(one, `${one}.swap`)
  await rename(other, one)
  await rename(`${one}.swap`, other)
}

export const removeFile = (path: string): Promise<void> => rm(path)
export const shorten = (path: string, size: number): Promise<void> => truncate(path, size)
