#!/bin/sh
# The gateway's tests of TLS in a virtual machine whose kernel encrypts: Debian's. Many machines' own kernel has no CONFIG_TLS,
# and the tests then see the TLS of the process alone. Not part of CI.
#
#   test-kernel-tls.sh [ARGUMENTS OF THE TESTS]
#
# The machine's only disk is an archive in memory: the tests, curl, busybox and the kernel's modules. It is emulated, which
# takes half a minute; what would be faster (KVM) does not work within every machine that is virtual itself.
set -eu
cd "$(dirname "$0")/.."

tools='qemu-system-x86_64 busybox cpio curl apt-get dpkg-deb'
for tool in $tools; do
    command -v "$tool" >/dev/null || {
        printf '%s is missing. Run: sudo apt-get install -y --no-install-recommends qemu-system-x86 busybox-static cpio curl\n' "$tool" >&2
        exit 1
    }
done

work=$PWD/target/kernel-tls
kernel=$work/kernel
if [ ! -d "$kernel/boot" ]; then
    package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-/ { print $2; exit }')
    mkdir -p "$work/package"
    (cd "$work/package" && apt-get -o APT::Sandbox::User=root download "$package")
    dpkg-deb -x "$work"/package/*.deb "$kernel"
fi
version=$(ls "$kernel/lib/modules")

test=$(${CARGO:-cargo} test --locked --release -p cairn-gateway --test it --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\/it-[^"]*\)".*/\1/p' | tail -1)

root=$work/root
rm -rf "$root"
mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/tmp" "$root/etc"
busybox=$(command -v busybox)
for program in "$busybox" "$(command -v curl)" "$test"; do
    cp "$program" "$root/bin/"
    ldd "$program" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$root${library%/*}"
        cp -L "$library" "$root$library"
    done
done
# curl believes somebody of its own, and is to be asked whether that suffices.
mkdir -p "$root/etc/ssl/certs"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
mv "$root/bin/${test##*/}" "$root/bin/tests"
for part in net/tls crypto lib/crypto arch/x86/crypto; do
    from=lib/modules/$version/kernel/$part
    [ ! -d "$kernel/$from" ] || { mkdir -p "$root/$from" && cp -R "$kernel/$from/." "$root/$from/"; }
done
cat >"$root/init" <<END
#!/bin/busybox sh
export PATH=/bin HOME=/tmp
/bin/busybox mkdir -p /sbin
/bin/busybox --install -s /bin
ln -s /bin/busybox /sbin/modprobe
mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev; mount -t tmpfs none /tmp
ip link set lo up
depmod
for module in tls aesni-intel gcm chacha20poly1305; do modprobe \$module; done
echo "kernel \$(uname -r), upper layers of TCP: \$(cat /proc/sys/net/ipv4/tcp_available_ulp)"
cd /tmp
/bin/tests tls:: --test-threads=1 $* && echo "in the virtual machine: passed"
# Nothing is to be saved; the emulator ends with the machine.
echo b >/proc/sysrq-trigger
END
chmod +x "$root/init"
(cd "$root" && find . | cpio --quiet -o -H newc) >"$work/root.cpio"

timeout 1200 qemu-system-x86_64 -accel tcg -cpu max -smp 2 -m 2048 -nographic -no-reboot -net none \
    -kernel "$kernel/boot/vmlinuz-$version" -initrd "$work/root.cpio" -append 'console=ttyS0 quiet panic=-1' </dev/null |
    tr -d '\r' | tee "$work/log"
# Skipped there is failed here: this kernel has what the tests ask for.
grep -q 'in the virtual machine: passed' "$work/log" && ! grep -q 'check skipped' "$work/log"
