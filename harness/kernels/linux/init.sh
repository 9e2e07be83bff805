#!/bin/sh
# PID 1 of the Linux guest: loads the boot modules, mounts the root, then answers the host.
#
# Where the root is on a disk it runs twice: from the initramfs (`/init`), then from the disk (`/init agent`).
# udhcpc calls it too, to have an address set (`/init bound`).
#
# The host speaks lines over the virtio-serial port org.osv-harness.control:
#   guest: ready <release>             once, when booted
#   host:  ping <id>                   guest: pong <id>
#   host:  run <id> <shell command>    guest: exited <id> <status>, after the line "<id> end" on the console
#   host:  tell <id> <shell command>   guest: part <id> <1 output, 2 errors> <base64>, any number of these, then
#                                             told <id> <status>
#   host:  mark <id>                   the kernel's log has a record <id> of a program's then
#   host:  poweroff
# Between these lines come those of /dev/kmsg, the kernel's log, as they are: they begin with a digit or a space.
# A line is written by one write(2) of less than 32 KiB, for the port tears no shorter one.
# Source: Linux, drivers/char/virtio_console.c (port_fops_write).
# Where a hypervisor has no such port, a command can stand after " -- " on the kernel's command line: it is run
# as <id> `boot`, the console says "boot exited <status>", and the guest turns itself off.

export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp TERM=dumb LANG=C.UTF-8

await() { # the path, for at most five seconds
    tries=0
    until [ -e "$1" ]; do
        [ $((tries += 1)) -gt 500 ] && echo "init: $1 does not appear" && return 1
        sleep 0.01
    done
}

load() { # the module, after those that it needs
    while read -r module; do
        [ -d "/sys/module/$module" ] || insmod "/boot-modules/$module.ko"
    done < "/boot-modules/$1"
}

load_modules() { # only those whose device is there: under TCG each costs tens of milliseconds
    for device in /sys/bus/pci/devices/*; do
        read -r kind 2> /dev/null < "$device/modalias" && case $kind in
            pci:v00001AF4*) load virtio_pci ;;
            pci:*bc01sc08*) load nvme ;;
            pci:v000015ADd000007B0*) load vmxnet3 ;;
            pci:v000015ADd000007C0*) load vmw_pvscsi && load sd_mod ;;
            pci:v00008086d00007010*) load ata_piix && load sd_mod ;;
        esac
    done
    for device in /sys/bus/platform/devices/*; do
        case $device in *LNRO0005* | *virtio_mmio*) load virtio_mmio && break ;; esac
    done
    for device in /sys/bus/virtio/devices/*; do
        read -r kind 2> /dev/null < "$device/device" && case $kind in
            0x0001) load virtio_net ;;
            0x0002) load virtio_blk ;;
            0x0003) load virtio_console ;;
            0x0004) load virtio_rng ;;
            0x0005) load virtio_balloon ;;
            0x0008) load virtio_scsi && load sd_mod ;;
            0x001a) load virtiofs ;;
        esac
    done
    [ -d /sys/bus/acpi/devices/QEMU0001:00 ] && load pvpanic_mmio
}

mount_root() {
    [ -e "/boot-modules/$rootfstype" ] && load "$rootfstype" # else the kernel has it built in
    # Without a root there is nothing to do: when init ends, the kernel panics, which the host sees at once.
    await "$root" && mount -t "$rootfstype" -o ro,noatime "$root" /root || exit 1
    for folder in dev proc sys; do mount -o move /$folder /root/$folder; done
    exec switch_root /root /init agent
}

# A template is stopped before its first `run`. Until then the root is mounted read-only, so that forks may begin
# from the disk as it was built.
make_writable() {
    make_writable() { :; }
    [ -n "$writable" ] && mount -o remount,rw /
}

set_address() { # that of the command line, CLIENT::GATEWAY:NETMASK::eth0:off, or what DHCP says
    gateway=${given#*::} netmask=${given#*::*:}
    if [ -n "$given" ]; then
        ifconfig eth0 "${given%%:*}" netmask "${netmask%%:*}" up && route add default gw "${gateway%%:*}"
    else
        udhcpc -q -n -t 5 -T 1 -i eth0 -s /init > /dev/null
    fi
}

find_port() {
    for name in /sys/class/virtio-ports/*/name; do
        read -r found < "$name" && [ "$found" = org.osv-harness.control ] && name=${name%/name} &&
            echo "/dev/${name##*/}"
    done 2> /dev/null
}

turn_off() {
    sync
    # Without ACPI a PC has no power button, and a reset ends QEMU under -no-reboot.
    if [ -d /sys/firmware/acpi ] || [ "$(uname -m)" = aarch64 ]; then poweroff -f; else reboot -f; fi
}

# A command's output and the line that ends it go through one tty, in this order; what is typed there is read from
# descriptor 1 too. Run in the background, so that
# requests are still answered, it begins with SIGINT and SIGQUIT ignored, as POSIX wants it.
run() { # id, command
    cd /tmp
    setsid sh -c "$2" < /dev/null 1<> /dev/console 2>&1 3>&- 4>&-
    status=$?
    printf '\n%s end\n' "$1" > /dev/console
}

# What a look inside prints goes back to who asked, and not to the console, which is the program's.
tell() { # id, command
    setsid sh -c "$2" < /dev/null > "/run/$1.1" 2> "/run/$1.2" 3>&- 4>&-
    status=$?
    for which in 1 2; do
        block=0
        while part=$(dd if="/run/$1.$which" bs=15000 skip=$block count=1 2> /dev/null | base64 | tr -d '\n') && [ "$part" ]; do
            echo "part $1 $which $part" >&3
            block=$((block + 1))
        done
    done
    echo "told $1 $status" >&3
    rm -f "/run/$1.1" "/run/$1.2"
}

# Each read takes one record. What is overwritten before it was read ends a dd; so does a program that kills it.
pass_log_on() {
    {
        echo -1000 > /proc/self/oom_score_adj
        while :; do
            dd bs=8192 <&4 >&3
            sleep 0.05
        done
    } 2> /dev/null &
    passer=$!
}

# Nothing is forked for this while the log is passed on: who has eaten all memory must not be mistaken for a panic.
mark() { # id
    { read -r _ _ doing _ < "/proc/$passer/stat" && [ "$doing" != Z ]; } 2> /dev/null || pass_log_on
    echo "<15>$1" >&4
}

answer() { # requests that come over descriptor 3
    while read -r verb id rest <&3; do
        case $verb in
            ping) echo "pong $id" >&3 ;;
            run)
                make_writable
                { run "$id" "$rest"; echo "exited $id $status" >&3; } &
                ;;
            tell) tell "$id" "$rest" & ;;
            mark) mark "$id" ;;
            poweroff) turn_off ;;
            *) echo "unknown $verb" >&3 ;;
        esac
    done
}

case $1 in
    bound | renew)
        ifconfig "$interface" "$ip" netmask "$subnet" up && route add default gw "${router%% *}"
        exit
        ;;
    deconfig) ifconfig "$interface" up; exit ;;
    leasefail | nak) exit ;;
    agent) ;;
    *)
        mount -t proc proc /proc
        mount -t sysfs sysfs /sys
        mount -t devtmpfs devtmpfs /dev
        exec 0< /dev/null > /dev/console 2>&1
        # The kernel's own line is too unimportant for a quiet boot; the host dates the kernel's start by it.
        read -r version < /proc/version && echo "$version"
        ;;
esac

read -r cmdline < /proc/cmdline
for word in $cmdline; do
    case $word in
        root=*) root=${word#*=} ;;
        rootfstype=*) rootfstype=${word#*=} ;;
        rw) writable=yes ;;
        ip=*) given=${word#*=} ;;
        --) break ;;
    esac
done

if [ "$1" != agent ]; then
    load_modules
    [ -n "$root" ] && mount_root
fi

mkdir /dev/shm /dev/pts
mount -a
hostname guest
ifconfig lo 127.0.0.1 up
[ -d /sys/class/net/eth0 ] && set_address

case "$cmdline" in
    *" -- "*)
        make_writable
        run boot "${cmdline#* -- }"
        echo "boot exited $status"
        turn_off
        ;;
esac

until port=$(find_port) && [ -n "$port" ]; do sleep 0.01; done
exec 3<> "$port" 4<> /dev/kmsg
# From here on programs run, and no reset is a panic's: a kernel that panics tells its hypervisor, or stands.
echo 0 > /proc/sys/kernel/panic
echo "ready $(uname -r)" >&3
pass_log_on
while :; do
    answer
    # No host holds the other end just now.
    sleep 0.05
done
