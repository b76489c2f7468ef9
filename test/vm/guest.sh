#!/bin/sh
# The checks inside the test machine: cgroup v2 alone, Linux 6.1. Each prints `ok NAME` or `not ok NAME: why`; the exit code counts failures.
export PATH=/bin:/sbin:/usr/bin BERTH_STATE_DIR=/var/lib/b
berth=/app/dist/berth
failures=0
ok() { echo "ok $1"; }
bad() { echo "not ok $1: $2"; failures=$((failures + 1)); }
# is NAME GOT WANTED
is() { if [ "$2" = "$3" ]; then ok "$1"; else bad "$1" "got '$2', want '$3'"; fi; }

mkdir -p "$BERTH_STATE_DIR"
$berth system up || { echo "not ok system up"; tail -20 "$BERTH_STATE_DIR"/log/*.log "$BERTH_STATE_DIR"/*.log 2>/dev/null; exit 99; }
$berth load -i /app/bench.tar || exit 98
I=bench:1

is 'run prints' "$($berth run --rm --network none $I echo hello)" hello
$berth run --rm --network none $I sh -c 'exit 7'; is 'exit code' $? 7
is 'memory.max' "$($berth run --rm --network none -m 64m $I cat /sys/fs/cgroup/memory.max)" 67108864
is 'pids.max' "$($berth run --rm --network none --pids-limit 33 $I cat /sys/fs/cgroup/pids.max)" 33
is 'cpu.max' "$($berth run --rm --network none --cpus 0.2 $I cat /sys/fs/cgroup/cpu.max)" '20000 100000'

# cpu 20 %: usage over five seconds of wall clock
id=$($berth run -d --network none --cpu-period 100000 --cpu-quota 20000 $I sh -c 'while :; do :; done')
sleep 2
group=$(find /sys/fs/cgroup -type d -name "*$id*" | head -1)
usage() { awk '/usage_usec/{print $2}' "$group/cpu.stat"; }
now() { awk '{printf "%d", $1 * 1000}' /proc/uptime; }
u0=$(usage) t0=$(now); sleep 5; u1=$(usage) t1=$(now)
percent=$(((u1 - u0) / (t1 - t0) / 10))
if [ $percent -ge 18 ] && [ $percent -le 22 ]; then ok "cpu 20 % ($percent)"; else bad 'cpu 20 %' "$percent %"; fi

# freeze
$berth pause "$id" >/dev/null; is 'frozen' "$(awk '/frozen/{print $2}' "$group/cgroup.events")" 1
u0=$(usage); sleep 1; is 'no cpu while frozen' "$(usage)" "$u0"
$berth unpause "$id" >/dev/null; is 'thawed' "$(awk '/frozen/{print $2}' "$group/cgroup.events")" 0
is 'exec' "$($berth exec "$id" echo inside)" inside
$berth exec "$id" sh -c 'exit 9'; is 'exec exit code' $? 9
$berth rm -f "$id" >/dev/null
[ -d "$group" ] && bad 'group removed' "$group is still there" || ok 'group removed'

# out of memory
$berth run --network none --name oom -m 16m --memory-swap 16m $I sh -c 'x=a; while :; do x=$x$x; done'; is 'OOM exit code' $? 137
is 'OOMKilled' "$($berth inspect -f '{{.State.OOMKilled}}' oom)" true
$berth rm oom >/dev/null
# out of pids
$berth run --rm --network none --pids-limit 5 $I sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait' >/tmp/pids 2>&1
grep -qi 'fork' /tmp/pids && ok 'pids limit' || bad 'pids limit' "$(cat /tmp/pids)"

# an exit while the helper is dead is not lost
id=$($berth run -d --network none $I sh -c 'sleep 3; echo last words; exit 5')
kill -9 "$($berth system status --json | sed -n 's/.*"helper"[^}]*"pid": *\([0-9]*\).*/\1/p')"
is 'exit code after kill -9 of the helper' "$($berth wait "$id")" 5
is 'output after kill -9 of the helper' "$($berth logs "$id")" 'last words'
$berth rm "$id" >/dev/null
$berth system down
is 'nothing mounted' "$(grep -c /var/lib/b /proc/mounts)" 0
is 'no group left' "$(find /sys/fs/cgroup -maxdepth 1 -name 'berth*' | wc -l)" 0
exit $failures
