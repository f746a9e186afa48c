import type { AccountFile, Category } from '../../core/account-files/files.ts'
import { splitFileName } from '../../core/file-names.ts'
import type { Identity } from '../../core/people/identities.ts'

const UNITS = ['B', 'KB', 'MB', 'GB', 'TB', 'PB'] as const
const STEP = 1024

/** Bytes for people: at most two decimals, without zeros at their end. */
export function formatSize(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= STEP && unit < UNITS.length - 1) {
    value /= STEP
    unit += 1
  }
  return `${Math.round(value * 100) / 100} ${UNITS[unit]}`
}

const formats = new Map<string, Intl.DateTimeFormat>()

/** `YYYY-MM-DD HH:mm:ss` in a time zone; an unknown zone is UTC. */
export function formatInstant(milliseconds: number, timeZone: string): string {
  let format = formats.get(timeZone)
  if (!format) {
    format = createFormat(timeZone)
    formats.set(timeZone, format)
  }
  return format.format(milliseconds)
}

function createFormat(timeZone: string): Intl.DateTimeFormat {
  // Sweden writes dates just so.
  const options = { dateStyle: 'short', timeStyle: 'medium' } as const
  try {
    return new Intl.DateTimeFormat('sv-SE', { ...options, timeZone })
  } catch {
    return new Intl.DateTimeFormat('sv-SE', { ...options, timeZone: 'UTC' })
  }
}

const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' })

/** First name and the first letter of the last one: `Author N.` */
export function initialsOf(name: string, email: string): string {
  const words = name.split(/\s+/u).filter((word) => word !== '')
  const [first, last] = [words[0], words.at(-1)]
  if (first === undefined || last === undefined) return email.split('@')[0] ?? ''
  if (words.length === 1) return first
  const [initial] = graphemes.segment(last)
  return `${first} ${initial?.segment.toUpperCase()}.`
}

export function renderUser({ profile }: Identity, publicUrl: string) {
  const email = profile.email ?? ''
  return {
    name: profile.displayName,
    initials: initialsOf(profile.displayName, email),
    email,
    photo_url: profile.avatarUrl ?? `${publicUrl}/images/no_image.png`,
    timezone: profile.timeZone,
  }
}

/** Whose files are shown, and how. */
export interface View {
  readonly owner: Identity
  readonly publicUrl: string
  /** Shown with each file when it is asked for. */
  readonly category: Category | undefined
}

export function renderFile(file: AccountFile, { owner, publicUrl, category }: View) {
  const { timeZone } = owner.profile
  const { name, extension } = splitFileName(file.fullName)
  return {
    id: file.id,
    filename: name,
    type: file.type,
    extension,
    full_filename: file.fullName,
    size: file.size,
    formatted_size: formatSize(file.size),
    encrypted_size: file.encryptedSize,
    formatted_encrypted_size: formatSize(file.encryptedSize),
    ...(category && {
      category: {
        id: category.id,
        name: category.name,
        created_at: formatInstant(category.createdAt, timeZone),
      },
    }),
    created_by: renderUser(owner, publicUrl),
    created_at: formatInstant(file.createdAt, timeZone),
    disk: file.disk,
    trashed: file.trashed,
  }
}
