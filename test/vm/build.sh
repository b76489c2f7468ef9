#!/bin/bash
# Makes an initrd and an ext4 image for a virtual machine with Debian's 6.1 kernel and a unified cgroup hierarchy: Node, dist/, busybox, guest.sh.
# Usage: build.sh CACHE_DIR DIST_DIR EXTRA_DIR (EXTRA_DIR's files land in /app). Needs: apt-get download, busybox-static, mke2fs, cpio, python3.
set -euo pipefail
cache=$1 dist=$2 extra=$3 here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$cache" && cd "$cache"
if [ ! -e kernel/boot ]; then
  package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/{print $2; exit}')
  apt-get download -qq "$package" >/dev/null 2>&1
  rm -rf kernel.new && dpkg -x "$package"_*.deb kernel.new && rm -f "$package"_*.deb && mv kernel.new kernel
fi
version=$(ls kernel/lib/modules)
modules=kernel/lib/modules/$version
busybox depmod -b kernel "$version" 2>/dev/null || true

# Paths of modules and what they depend on, in the order of insertion.
order() {
  python3 - "$modules" "$@" <<'P'
import os, sys
needs = dict((a, b.split()) for a, b in (line.split(':') for line in open(sys.argv[1] + '/modules.dep')))
by_name = {os.path.basename(k)[:-3].replace('-', '_'): k for k in needs}
seen = []
def add(k):
    for x in needs[k]:
        add(x)
    if k not in seen:
        seen.append(k)
for name in sys.argv[2:]:
    if name in by_name:
        add(by_name[name])
print('\n'.join(seen))
P
}

if [ ! -e initrd.gz ]; then
  rm -rf ird && mkdir -p ird/{bin,mods,proc,sys,dev,newroot} && cp "$(command -v busybox)" ird/bin/busybox
  for f in $(order virtio_pci virtio_blk ext4); do cp "$modules/$f" ird/mods/ && basename "$f" >> ird/mods/order; done
  cat > ird/init <<'I'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc; /bin/busybox mount -t sysfs sysfs /sys; /bin/busybox mount -t devtmpfs dev /dev
for m in $(/bin/busybox cat /mods/order); do /bin/busybox insmod /mods/$m || echo "insmod $m failed"; done
/bin/busybox mount -o noatime -t ext4 /dev/vda /newroot || exec /bin/busybox sh
exec /bin/busybox switch_root /newroot /sbin/init
I
  chmod +x ird/init && (cd ird && find . | cpio -o -H newc --quiet | gzip -1) > initrd.gz.new && mv initrd.gz.new initrd.gz
fi

rm -rf root.d && mkdir -p root.d/{bin,sbin,proc,sys,dev,tmp,run,etc,usr/bin,lib64,lib/x86_64-linux-gnu,lib/modules,var/lib,app,root}
cp "$(command -v busybox)" root.d/bin/busybox
for name in $(busybox --list); do [ -e "root.d/bin/$name" ] || ln -s busybox "root.d/bin/$name"; done
for lib in $(ldd "$dist/node" "$dist/koffi.node" | awk '$3 ~ /^\//{print $3}' | sort -u); do cp -L "$lib" root.d/lib/x86_64-linux-gnu/; done
cp -L /lib64/ld-linux-x86-64.so.2 root.d/lib64/
cp -r "$dist" root.d/app/dist
sed -i "1s|.*|#!/app/dist/node|" root.d/app/dist/berth
cp -r "$extra"/. root.d/app/
for f in $(order overlay erofs loop); do mkdir -p "root.d/lib/modules/$version/$(dirname "$f")" && cp "$modules/$f" "root.d/lib/modules/$version/$f" && echo "/lib/modules/$version/$f" >> root.d/etc/modules-order; done
printf 'root:x:0:0:root:/root:/bin/sh\n' > root.d/etc/passwd; printf 'root:x:0:\n' > root.d/etc/group; echo vm > root.d/etc/hostname
cp "$here/init.sh" root.d/sbin/init && cp "$here/guest.sh" root.d/app/guest.sh && chmod 755 root.d/sbin/init root.d/app/guest.sh
rm -f root.img && mke2fs -q -t ext4 -O ^has_journal -m 0 -d root.d root.img 900M
