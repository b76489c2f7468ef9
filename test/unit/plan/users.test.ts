import { describe, expect, test } from 'vitest';
import { resolveUser } from '../../../core/plan/users.ts';
import { GROUP, PASSWD } from '../../cases/load.ts';

function resolve(user: string, more: Partial<Parameters<typeof resolveUser>[0]> = {}) {
  return resolveUser({ user, groupAdd: [], passwd: PASSWD, group: GROUP, ...more }).value;
}

describe('resolveUser()', () => {
  test.each([
    ['', { uid: 0, gid: 0, groups: [0, 44], home: '/root' }],
    ['root', { uid: 0, gid: 0, groups: [0, 44], home: '/root' }],
    ['0', { uid: 0, gid: 0, groups: [0, 44], home: '/root' }],
    ['app', { uid: 1000, gid: 1000, groups: [1000, 29, 44], home: '/home/app' }],
    ['1000', { uid: 1000, gid: 1000, groups: [1000, 29, 44], home: '/home/app' }],
    ['app:daemon', { uid: 1000, gid: 1, groups: [1], home: '/home/app' }],
    ['app:1', { uid: 1000, gid: 1, groups: [1], home: '/home/app' }],
    ['app:4242', { uid: 1000, gid: 4242, groups: [4242], home: '/home/app' }],
    ['4242', { uid: 4242, gid: 0, groups: [0], home: '/' }],
    ['4242:4343', { uid: 4242, gid: 4343, groups: [4343], home: '/' }],
    ['4242:audio', { uid: 4242, gid: 29, groups: [29], home: '/' }],
    [':audio', { uid: 0, gid: 29, groups: [29], home: '/root' }],
    ['2147483647', { uid: 2147483647, gid: 0, groups: [0], home: '/' }],
  ])('%j', (user, expected) => {
    expect(resolve(user)).toEqual(expected);
  });

  test.each([
    ['nobody-here', 'unable to find user nobody-here: no matching entries in passwd file'],
    ['app:nogroup', 'unable to find group nogroup: no matching entries in group file'],
    ['2147483648', 'uids and gids must be in range 0-2147483647'],
    ['4294967296', 'uids and gids must be in range 0-2147483647'],
    ['-1', 'uids and gids must be in range 0-2147483647'],
    ['0:99999999999', 'uids and gids must be in range 0-2147483647'],
  ])('%j is refused with Docker’s text', (user, message) => {
    expect(() => resolve(user)).toThrow(message);
  });

  test('without a passwd a number works and a name does not', () => {
    expect(resolve('7', { passwd: '', group: '' })).toEqual({ uid: 7, gid: 0, groups: [0], home: '/' });
    expect(() => resolve('app', { passwd: '', group: '' })).toThrow('no matching entries in passwd file');
    expect(resolve('', { passwd: '', group: '' })).toEqual({ uid: 0, gid: 0, groups: [0], home: '/' });
  });

  test('the first of two entries counts, comments and short lines are passed over', () => {
    const passwd = '# c\n\nx\napp:x:5:6::/first:\napp:x:7:8::/second:\n';
    expect(resolve('app', { passwd, group: '#app:x:1:app\n' })).toMatchObject({
      uid: 5,
      gid: 6,
      home: '/first',
      groups: [6],
    });
  });

  test('ids of a passwd out of range are refused, ids that are no numbers are 0', () => {
    expect(() => resolve('a', { passwd: 'a:x:4294967295:0::/:\n' })).toThrow('must be in range');
    expect(resolve('a', { passwd: 'a:x:many:0::/h:\n' })).toMatchObject({ uid: 0 });
  });

  test('--group-add takes names and numbers, each once', () => {
    expect(resolve('app', { groupAdd: ['audio', '29', '777'] }).groups).toEqual([1000, 29, 44, 29, 777]);
    expect(() => resolve('app', { groupAdd: ['nope'] })).toThrow('Unable to find group nope');
  });
});
