#!/bin/busybox sh
# The guest's first process: mounts, runs /command with its output on the second serial port, and powers off.
# The first port is the kernel's console; the third tells xtask "ready" and "status N", apart from all output.
export PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
ln -sf /proc/self/fd /dev/fd
ln -sf /proc/self/fd/0 /dev/stdin
ln -sf /proc/self/fd/1 /dev/stdout
ln -sf /proc/self/fd/2 /dev/stderr
mkdir -p /dev/shm /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mount -t securityfs securityfs /sys/kernel/security
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
hostname guest
ip link set lo up

# Raw: the port must pass every byte as it is.
stty -F /dev/ttyS1 raw -echo
stty -F /dev/ttyS2 raw -echo
echo ready >/dev/ttyS2

# The command writes to a pipe, not to a terminal, as it does under CI.
mkfifo /run/output
cat </run/output >/dev/ttyS1 &
drain=$!
bash /command </dev/null >/run/output 2>&1
status=$?

# A process that the command left behind may hold the pipe open: wait for the rest of the output, but not forever.
left=100
while kill -0 $drain 2>/dev/null && [ $left -gt 0 ]; do
    sleep 0.05
    left=$((left - 1))
done
kill $drain 2>/dev/null
echo "status $status" >/dev/ttyS2
sync
poweroff -f
