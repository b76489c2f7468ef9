import { expect, test } from 'vitest';
import { printable, printableJson } from '../../../core/base/printable.ts';

test.each([
  ['a line\n\tand another', 'a line\n\tand another'],
  ['größe 漢字 😀', 'größe 漢字 😀'],
  ['\u001b[31m\u0007\r', '\\x1b[31m\\x07\\x0d'],
  ['\u007f\u009b2J', '\\x7f\\u009b2J'],
  ['a\u202eb\u2066c\u2028d\ufeff', 'a\\u202eb\\u2066c\\u2028d\\ufeff'],
  ['half \ud800 of one', 'half \\ud800 of one'],
])('printable(%j)', (text, printed) => {
  expect(printable(text)).toBe(printed);
});

test('printableJson() changes no value', () => {
  const value = { 'a\u007f': 'b\u009b\u202e\u{e0001}\n"', c: '漢' };
  const text = printableJson(JSON.stringify(value, undefined, 2));
  expect(JSON.parse(text)).toEqual(value);
  expect(text).not.toMatch(/[^\P{C}\n]/u);
});
