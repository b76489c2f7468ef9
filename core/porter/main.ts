// The porter: holds the helper's two sockets, speaks gRPC, keeps the lanes, so that no process of root's reads what anybody may have written but signed
// requests. Started by the helper in a sandbox like the layer worker's, with these descriptors and nothing else:
//
//   0, 1 nothing   2 what it says as it dies   3 helper.sock   4 lane.sock   5 the helper's frames   6 descriptors beside them   7 the host's mountinfo
//
// Arguments: how many descriptors it may have; `rootless`, where every descriptor is passed on: all of them come from the helper's own user. It ends when
// the helper's end is closed.
import { refuseFds } from '../sys/socket.ts';
import { openClosings } from './closings.ts';
import { accept } from './connections.ts';
import { newLanes } from './lanes.ts';
import { quietOn } from './quiet.ts';
import { connectRoot } from './root.ts';
import { newService } from './service.ts';

const FD = { service: 3, lane: 4, stream: 5, side: 6, mounts: 7 } as const;

/** Of its descriptors, what lanes may hold. The rest is for connections. */
const HELD_SHARE = 0.75;

const closings = openClosings();
const { closeStranger } = closings;
const root = connectRoot({ ...FD, closeStranger, gone: () => process.exit(0) });
const [files, rootless] = process.argv.slice(2);
const isQuiet = rootless === 'rootless' ? () => true : quietOn(FD.mounts);
const lanes = newLanes({ closings, isQuiet, fdsMax: Number(files) * HELD_SHARE });
refuseFds(FD.service);
accept(FD.service, root, newService(root, lanes));
accept(FD.lane, root, ({ uid, ...lane }) => lanes.add(uid, lane));
root.ready();
