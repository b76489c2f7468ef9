// What the kernel and the helper's own records said before a request is judged. The helper fills it in; `berth policy can` makes one up.

/** One passed descriptor, in the words of statx(2) and statfs(2). */
export type SeenFile = {
  readonly device: bigint;
  readonly inode: bigint;
  readonly mountId: bigint;
  /** Where the descriptor lies, as the kernel tells it (readlink of /proc/self/fd/N), without any link left in it. */
  readonly path: string;
  /** f_type of statfs(2). */
  readonly fsType: number;
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  readonly isDirectory: boolean;
};

export type Seen = {
  /** The asking principal's uid. */
  readonly uid: number;
  /** The ticket's descriptors, in their order. */
  readonly files: readonly SeenFile[];
  /** The helper's own directories, which no profile opens. */
  readonly own: readonly string[];
  /** Namespaces of the host that the container asked for, or one whose namespaces are joined, lives in: `user`, `net` and so on. */
  readonly hostNamespaces: readonly string[];
  /** Containers the principal has beside the one that is asked for. */
  readonly containers: number;
  /** Execs of the principal that run, or ended and were not forgotten: their output is kept. */
  readonly execs: number;
  /** Bytes of the layers the principal has a right to. */
  readonly layersBytes: number;
};
