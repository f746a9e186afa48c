#!/bin/sh
# Runs a program where there is nothing but what it is shown: no network, no other process, and of the
# file system only the paths that are named here, read-only, over an empty /tmp in memory. Everything
# goes with the last process in it. Must be run in fresh namespaces: `isolation.ts` does.
#
#   jail.sh <size of /tmp> <path>... -- <program> <argument>...
set -eu
size=$1
shift
# The one place that always exists and that nothing to be shown lies in.
root=/sys
mount -t tmpfs -o "size=$size,mode=0755,nosuid,nodev" tmpfs "$root"
mkdir "$root/dev" "$root/proc" "$root/tmp" "$root/.old"
for device in null zero random urandom; do
  : > "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
while [ "$1" != -- ]; do
  if [ -L "$1" ]; then
    mkdir -p "$root${1%/*}"
    cp -P "$1" "$root$1"
  elif [ -d "$1" ]; then
    mkdir -p "$root$1"
    mount --bind -o ro,nosuid,nodev "$1" "$root$1"
  elif [ -e "$1" ]; then
    mkdir -p "$root${1%/*}"
    : > "$root$1"
    mount --bind -o ro,nosuid,nodev "$1" "$root$1"
  fi
  shift
done
shift
cd "$root"
pivot_root . .old
# The old root goes before the program starts, and with it the way back.
exec chroot . /bin/sh -c '
  mount -t proc -o ro,nosuid,nodev,noexec proc /proc && umount -l /.old && rmdir /.old && exec "$@"
' sh "$@"
