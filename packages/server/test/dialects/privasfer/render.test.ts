import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatInstant, formatSize, initialsOf } from '../../../src/dialects/privasfer/render.ts'

test('sizes for people are exactly those of the table', () => {
  const table: [number, string][] = [
    [0, '0 B'],
    [1, '1 B'],
    [1023, '1023 B'],
    [1024, '1 KB'],
    [1536, '1.5 KB'],
    [43_389, '42.37 KB'],
    [78_508, '76.67 KB'],
    [1_048_575, '1024 KB'],
    [1_048_576, '1 MB'],
    [1_610_612_736, '1.5 GB'],
    // Exactly in the middle: up.
    [1152, '1.13 KB'],
    [1024 ** 4, '1 TB'],
    [1.25 * 1024 ** 5, '1.25 PB'],
    // There is no unit beyond.
    [2048 * 1024 ** 5, '2048 PB'],
  ]
  assert.deepEqual(
    table.map(([bytes]) => [bytes, formatSize(bytes)]),
    table,
  )
})

test('initials are the first name and the first letter of the last one', () => {
  const table: [string, string][] = [
    ['Author Name', 'Author N.'],
    ['User Name', 'User N.'],
    ['Recipient Name', 'Recipient N.'],
    ['Madonna', 'Madonna'],
    ['  Ann   Maria \t van Example  ', 'Ann E.'],
    ['jonas ąžuolas', 'jonas Ą.'],
    ['Zoe\u0301 e\u0301clair', 'Zoe\u0301 E\u0301.'],
    ['Ann 👩‍👧‍👦mily', 'Ann 👩‍👧‍👦.'],
    ['山田 太郎', '山田 太.'],
    ['', 'author'],
    [' \t ', 'author'],
  ]
  assert.deepEqual(
    table.map(([name]) => [name, initialsOf(name, 'author@email.address')]),
    table,
  )
})

test('times are those of the zone, also around the switches to and from summer time', () => {
  const table: [string, string, string][] = [
    ['2019-05-07T21:18:03Z', 'Europe/Vilnius', '2019-05-08 00:18:03'],
    ['2026-05-15T12:00:00Z', 'Europe/Vilnius', '2026-05-15 15:00:00'],
    ['2026-01-15T12:00:00Z', 'Europe/Vilnius', '2026-01-15 14:00:00'],
    // 03:00 is followed by 04:00 on the last Sunday of March …
    ['2026-03-29T00:59:59Z', 'Europe/Vilnius', '2026-03-29 02:59:59'],
    ['2026-03-29T01:00:00Z', 'Europe/Vilnius', '2026-03-29 04:00:00'],
    // … and an hour comes twice on the last one of October.
    ['2026-10-25T00:30:00Z', 'Europe/Vilnius', '2026-10-25 03:30:00'],
    ['2026-10-25T01:00:00Z', 'Europe/Vilnius', '2026-10-25 03:00:00'],
    ['2026-10-25T01:30:00Z', 'Europe/Vilnius', '2026-10-25 03:30:00'],
    ['2026-10-25T02:00:00Z', 'Europe/Vilnius', '2026-10-25 04:00:00'],
    // Midnight is 00, and the day may be another one.
    ['2026-01-15T22:00:00Z', 'Europe/Vilnius', '2026-01-16 00:00:00'],
    ['2026-01-01T02:00:00Z', 'America/New_York', '2025-12-31 21:00:00'],
    ['2026-01-15T12:00:00Z', 'Asia/Kathmandu', '2026-01-15 17:45:00'],
    ['2026-01-15T12:00:00.999Z', 'UTC', '2026-01-15 12:00:00'],
    ['2026-01-15T12:00:00Z', 'Mars/Olympus_Mons', '2026-01-15 12:00:00'],
    ['2026-01-15T12:00:00Z', '', '2026-01-15 12:00:00'],
  ]
  assert.deepEqual(
    table.map(([instant, zone]) => [instant, zone, formatInstant(Date.parse(instant), zone)]),
    table,
  )
})
