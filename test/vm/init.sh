#!/bin/sh
# PID 1 of the test machine: mounts what a host has, with cgroup v2 alone, runs guest.sh, powers off.
export PATH=/bin:/sbin:/usr/bin HOME=/root
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts; mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp; mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up; hostname vm
for m in $(cat /etc/modules-order); do insmod "$m" || echo "insmod $m failed"; done
echo "UP $(cut -d' ' -f1 /proc/uptime) $(uname -r) controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"
cd /app && sh /app/guest.sh
echo "EXIT $? $(cut -d' ' -f1 /proc/uptime)"
poweroff -f
