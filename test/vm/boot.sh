#!/bin/bash
# Boots what build.sh made and prints the serial console; the guest ends with a line `EXIT <code>`. Usage: boot.sh CACHE_DIR
# Emulation only: nested KVM is unreliable where CI runs. The image is opened as a snapshot: nothing is written to it.
set -euo pipefail
cd "$1"
exec timeout "${VM_SECONDS:-600}" qemu-system-x86_64 -M pc -accel tcg,thread=multi -cpu max -m 2048 -smp 2 -nodefaults -no-user-config -nographic -no-reboot \
  -serial stdio -kernel kernel/boot/vmlinuz-* -initrd initrd.gz -append "console=ttyS0 panic=-1 mitigations=off quiet systemd.unified_cgroup_hierarchy=1" \
  -drive id=d,file=root.img,format=raw,if=none,snapshot=on -device virtio-blk-pci,drive=d </dev/null
