#!/bin/sh
# Tests the virtual camera on a real /dev/videoN: `make test-vcam`, or: sh tests/vcam/run.sh PYTHON
#
# Containers and most build machines cannot load a kernel module, so a small virtual machine does it: QEMU without
# hardware help, Debian's kernel, v4l2loopback built for it from Debian's source, and this machine's own file system,
# shared read-only, in which tests/vcam/guest.py runs with PYTHON. Debian or Ubuntu, as root for the first run (it
# installs QEMU and the kernel's headers; the kernel itself is only unpacked into a cache folder).
set -eu

python=$(command -v "${1:-python3}") || { echo "run.sh: no Python at ${1:-python3}" >&2; exit 2; }
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/vultus-vcam
PATH=$PATH:/usr/sbin:/sbin
mkdir -p "$cache"

if [ "$(dpkg --print-architecture 2>/dev/null)" != amd64 ]; then
  echo "test-vcam: left out, it needs Debian or Ubuntu on amd64" >&2
  exit 0
fi

# --- what it takes -----------------------------------------------------------------------------------------------------

wanted=""
for program in qemu-system-x86_64:qemu-system-x86 modprobe:kmod make:make; do
  command -v "${program%%:*}" >/dev/null || wanted="$wanted ${program##*:}"
done
newest() { find /usr/src -maxdepth 1 -name 'linux-headers-*-amd64' ! -name '*cloud*' ! -name '*rt*' | sort -V | tail -n 1; }
[ -n "$(newest)" ] || wanted="$wanted linux-headers-amd64"
if [ -n "$wanted" ]; then
  if [ "$(id -u)" != 0 ]; then
    echo "test-vcam needs as root: apt-get install --no-install-recommends$wanted" >&2
    exit 2
  fi
  echo "Installing for the virtual machine:$wanted"
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq -o DPkg::Lock::Timeout=300 update >"$cache/apt.log" 2>&1 || true
  apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $wanted >>"$cache/apt.log" 2>&1 ||
    { tail -n 5 "$cache/apt.log" >&2; exit 1; }
fi
version=$(basename "$(newest)")
version=${version#linux-headers-}
machine=$cache/$version
root=$machine/root

# Unpacked, not installed: a container must not get a kernel, and dkms would build for the kernel that runs.
unpack() {
  [ -e "$machine/$1.unpacked" ] && return
  (cd "$machine" && apt-get -qq download "$1" 2>>"$cache/apt.log" && dpkg-deb -x "$1"_*.deb root && rm "$1"_*.deb) ||
    { echo "test-vcam: package $1 cannot be fetched; try: apt-get update" >&2; exit 1; }
  touch "$machine/$1.unpacked"
}
mkdir -p "$root"
unpack "linux-image-$version"
unpack v4l2loopback-dkms
unpack busybox-static

# --- the module and a first file system that mounts this machine's -----------------------------------------------------

modules=$root/lib/modules/$version
if [ ! -e "$modules/extra/v4l2loopback.ko" ]; then
  echo "Building v4l2loopback for $version ..."
  source=$(find "$root/usr/src" -maxdepth 1 -name 'v4l2loopback-*' | sort -V | tail -n 1)
  make -s -C "/usr/src/linux-headers-$version" M="$source" modules >"$cache/build.log" 2>&1 ||
    { tail -n 20 "$cache/build.log" >&2; exit 1; }
  mkdir -p "$modules/extra"
  cp "$source/v4l2loopback.ko" "$modules/extra/"
  depmod -b "$root" "$version" 2>/dev/null
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
mkdir -p "$work/init/bin" "$work/init/modules" "$work/init/host"
cp "$root/bin/busybox" "$work/init/bin/"
for name in virtio_pci 9pnet_virtio 9p videodev; do
  modprobe -d "$root" -S "$version" --show-depends "$name" | while read -r kind file _; do
    # builtin modules need nothing; each file is loaded once, in the order in which it was first needed
    if [ "$kind" = insmod ] && ! [ -e "$work/init/modules/$(basename "$file")" ]; then
      cp "$file" "$work/init/modules/"
      basename "$file" >>"$work/init/modules/order"
    fi
  done
done
cp "$modules/extra/v4l2loopback.ko" "$work/init/modules/"
cat >"$work/init/init" <<EOF
#!/bin/busybox sh
# One busybox, called by its applets' names.
b=/bin/busybox
\$b mkdir -p /proc /sys
\$b mount -t proc none /proc
\$b mount -t sysfs none /sys
while read -r file; do \$b insmod /modules/\$file; done </modules/order
\$b insmod /modules/v4l2loopback.ko video_nr=9 card_label=Avatar exclusive_caps=1
\$b mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=512000,cache=loose host /host
\$b mount -t devtmpfs none /host/dev
\$b mount -t proc none /host/proc
\$b mount -t sysfs none /host/sys
\$b mount -t tmpfs none /host/mnt # /tmp may hold the checkout
\$b chroot /host /usr/bin/env -i PATH=/usr/bin:/bin HOME=/mnt TMPDIR=/mnt PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1 \
  "$python" "$here/guest.py" >/dev/console 2>&1
\$b echo "guest exit: \$?" >/dev/console
\$b poweroff -f
EOF
chmod +x "$work/init/init"
(cd "$work/init" && mkdir dev && find . | "$root/bin/busybox" cpio -o -H newc 2>/dev/null | gzip -1) >"$work/init.gz"

# --- run ---------------------------------------------------------------------------------------------------------------

timeout 300 qemu-system-x86_64 -machine q35 -cpu max -smp 2 -m 1536 -nographic -no-reboot -nodefaults -serial stdio \
  -kernel "$root/boot/vmlinuz-$version" -initrd "$work/init.gz" \
  -append "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off random.trust_cpu=on" \
  -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap,id=host \
  -object rng-random,id=rng,filename=/dev/urandom -device virtio-rng-pci,rng=rng \
  </dev/null >"$work/console" 2>&1 || true

# The firmware's escape sequences share the first line with what follows.
tr -d '\r' <"$work/console" | sed -n 's/.*\({"virtual_camera".*}\)$/\1/p' >"$work/result"
if [ ! -s "$work/result" ]; then
  echo "test-vcam: the guest gave no result; its last words:" >&2
  tail -n 25 "$work/console" >&2
  exit 1
fi
cat "$work/result"
grep -q 'guest exit: 0' "$work/console"
