// Mounts by descriptor. Source: include/uapi/linux/mount.h, Linux 6.18; man 2 mount_setattr, man 2 open_tree, man 2 move_mount, man 2 fsopen.
export const MS_RDONLY = 1;
export const MS_NODEV = 4;
export const MS_REC = 16384;
export const MS_PRIVATE = 0x40000;
export const MS_SLAVE = 0x80000;
export const MS_SHARED = 0x100000;
export const OPEN_TREE_CLONE = 1;
export const OPEN_TREE_CLOEXEC = 0o2000000;
export const MOVE_MOUNT_F_EMPTY_PATH = 0x00000004;
export const MOVE_MOUNT_T_EMPTY_PATH = 0x00000040;
export const FSOPEN_CLOEXEC = 0x00000001;
export const FSCONFIG_SET_FLAG = 0;
export const FSCONFIG_SET_STRING = 1;
export const FSCONFIG_SET_FD = 5;
export const FSCONFIG_CMD_CREATE = 6;
export const FSMOUNT_CLOEXEC = 0x00000001;
export const MOUNT_ATTR_RDONLY = 0x00000001;
export const MOUNT_ATTR_NOSUID = 0x00000002;
export const MOUNT_ATTR_NODEV = 0x00000004;
export const MOUNT_ATTR_NOEXEC = 0x00000008;
export const MOUNT_ATTR_IDMAP = 0x00100000;
/** struct mount_attr: u64 set, u64 clear, u64 propagation, u64 user namespace descriptor. */
export const MOUNT_ATTR_SIZE_VER0 = 32;
/** umount2(2). Source: include/linux/fs.h. */
export const MNT_DETACH = 2;
