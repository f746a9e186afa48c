import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { cleanFileName, searchForm, splitFileName } from '../../src/core/file-names.ts'

test('names keep all but path separators and control characters', () => {
  const long = 'ä'.repeat(300)
  const table: [string, string][] = [
    ['x\\y.txt', 'xy.txt'],
    ['a/b.txt', 'ab.txt'],
    ['../../etc/passwd', '....etcpasswd'],
    ['C:\\files\\a.txt', 'C:filesa.txt'],
    ['say "hi".txt', 'say "hi".txt'],
    ['two\r\nlines.txt', 'twolines.txt'],
    ['nul\0 and \u009f.txt', 'nul and .txt'],
    ['  in the middle .txt  ', 'in the middle .txt'],
    ['.htaccess', '.htaccess'],
    ['a.', 'a.'],
    ['e\u0301 stays in two.txt', 'e\u0301 stays in two.txt'],
    ['حساب.pdf', 'حساب.pdf'],
    ['👩‍👧‍👦 😀.png', '👩‍👧‍👦 😀.png'],
    [long, long],
    ['', 'file'],
    ['\r\n', 'file'],
    ['//\\', 'file'],
    [' ', 'file'],
  ]
  assert.deepEqual(
    table.map(([given]) => [given, cleanFileName(given)]),
    table,
  )
})

test('the extension is what follows the last dot', () => {
  const table: [string, string, string][] = [
    ['invoice.pdf', 'invoice', 'pdf'],
    ['a.tar.gz', 'a.tar', 'gz'],
    ['README', 'README', ''],
    ['.htaccess', '', 'htaccess'],
    ['a.', 'a', ''],
    ['..', '.', ''],
    ['ä.Ö', 'ä', 'Ö'],
  ]
  assert.deepEqual(
    table.map(([full]) => {
      const { name, extension } = splitFileName(full)
      return [full, name, extension]
    }),
    table,
  )
})

test('names are searched without regard to case, accents and compatibility forms', () => {
  const equal: [string, string][] = [
    ['INVOICE', 'invoice'],
    ['Ąžuolas ČĘĖĮŠŲŪ', 'azuolas ceeisuu'],
    ['RÉSUMÉ', 'resume'],
    ['e\u0301', '\u00e9'],
    ['STRASSE', 'straße'],
    ['ﬁle ﬀ', 'file ff'],
    ['ＦＵＬＬ　ｗｉｄｔｈ', 'full width'],
    ['x² №5 ™', 'x2 no5 tm'],
    ['İstanbul', 'istanbul'],
    ['ОТЧЁТ', 'отчет'],
    ['ΟΔΥΣΣΕΑΣ', 'οδυσσεας'],
    ['ᾼ', 'α'],
  ]
  for (const [one, other] of equal) assert.equal(searchForm(one), searchForm(other), one)
  const different: [string, string][] = [
    ['a', 'b'],
    ['%', '_'],
    ['o', 'ø'],
    ['и', 'ы'],
  ]
  for (const [one, other] of different) assert.notEqual(searchForm(one), searchForm(other), one)
})

test('a Greek word is found in a name where the word does not end', () => {
  assert.ok(searchForm('ΟΔΥΣΣΕΑΣ.pdf').includes(searchForm('ΟΔΥΣΣΕΑΣ')))
  assert.ok(searchForm('ΟΔΥΣΣΕΑΣ.pdf').includes(searchForm('ΟΔΥΣ')))
})

test('whatever stands in a name is found in it, in any case', () => {
  const text = fc
    .string({ unit: 'grapheme', maxLength: 30 })
    // The Greek iota below a letter becomes a letter of its own as a capital.
    .filter((value) => !value.normalize('NFD').includes('\u0345'))
  fc.assert(
    fc.property(text, text, text, (before, part, after) => {
      const form = searchForm(`${before}${part}${after}`)
      for (const keyword of [part, part.toUpperCase(), part.toLowerCase(), part.normalize('NFD')]) {
        assert.ok(form.includes(searchForm(keyword)), `${JSON.stringify(keyword)} in ${form}`)
      }
    }),
    { numRuns: 100 },
  )
})

test('a name that was cleaned, or a form for searches, stays as it is when it is made again', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (name) => {
      assert.equal(searchForm(searchForm(name)), searchForm(name))
      assert.equal(cleanFileName(cleanFileName(name)), cleanFileName(name))
    }),
    { numRuns: 100 },
  )
})
