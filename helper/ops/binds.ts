// How owners of files show in a container's binds. The map is made by the helper from its own records: the principal's own uid and gid are the
// container's root, his storage range is the rest. So a container can make no file on the host that belongs to anybody but its principal, and no
// file of anybody else shows as somebody of the container.
import type { IdMaps } from '../launch/namespaces.ts';
import { BLOCK_IDS } from './blocks.ts';

/** The asking user's own ids, his storage range, and the container's first host id. */
export type BindOwners = {
  readonly uid: number;
  readonly gid: number;
  readonly storage: number;
  readonly firstId: number;
};

/** For an idmapped mount, `inside` is the id on disk and `outside` the one it shows as. Source: man 2 mount_setattr, MOUNT_ATTR_IDMAP. */
export function bindMaps({ uid, gid, storage, firstId }: BindOwners): IdMaps {
  const map = (own: number) => [
    { inside: own, outside: firstId, count: 1 },
    { inside: storage + 1, outside: firstId + 1, count: BLOCK_IDS - 1 },
  ];
  return { uids: map(uid), gids: map(gid) };
}

/** The ids from `outside` on, as those from 0 on. */
export function ownIds(outside: number, count = BLOCK_IDS): IdMaps {
  const map = [{ inside: 0, outside, count }];
  return { uids: map, gids: map };
}
