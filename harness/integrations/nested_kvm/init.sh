#!/lab/bin/sh
# PID 1 of a lab: mounts what the host shows, runs the command, and brings out what it wrote.
#
# It runs twice: from the initramfs, then from the root that it has made (`/lab/init command`). As /lab/modprobe it
# loads the module that the kernel asks for.
#
# It speaks lines over the virtio-serial port org.osv-harness.control:
#   lab:  up <release>                  once, when the command begins
#         unsaved <words>               what the command wrote could not be brought out
#         ended <status>                once, when all is brought out
#   host: signal <name>                 to the command and all that it has started
#         size <rows> <columns>         of its terminal
#
# What is particular to one lab lies beside it: /lab/shown, /lab/environment, /lab/command, /lab/settings.

export PATH=/lab/bin HOME=/root

load() { # the module, after those that it needs
    while read -r module; do
        [ -d "/sys/module/$module" ] || insmod "/lab/boot-modules/$module.ko"
    done < "/lab/boot-modules/$1"
}

port() { # the device of the port of that name, which appears when its driver has found it
    tries=0
    until [ $((tries += 1)) -gt 1000 ]; do
        for name in /sys/class/virtio-ports/*/name; do
            read -r found < "$name" && [ "$found" = "org.osv-harness.$1" ] && name=${name%/name} &&
                [ -c "/dev/${name##*/}" ] && echo "/dev/${name##*/}" && return
        done 2> /dev/null
        sleep 0.01
    done
    echo "init: there is no port $1"
    return 1
}

show() { # tag, folder: read-only, and nothing of it changes while it is shown
    mkdir -p "/new$2" 2> /dev/null
    mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro" "$1" "/new$2"
}

show_writable() { # tag, folder, name: what is written into it is in this memory, and gone with it
    mkdir -p "/new/lab/lower/$3" "/new/lab/upper/$3" "/new/lab/work/$3" "/new$2"
    mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro" "$1" "/new/lab/lower/$3" &&
        mount -t overlay -o "lowerdir=/new/lab/lower/$3,upperdir=/new/lab/upper/$3,workdir=/new/lab/work/$3" \
            overlay "/new$2"
}

cover() { # the folder, which is shown read-only, by one that can be written
    mkdir -p /new/lab/upper/cwd /new/lab/work/cwd
    mount -t overlay -o "lowerdir=/new$1,upperdir=/new/lab/upper/cwd,workdir=/new/lab/work/cwd" overlay "/new$1"
}

make_root() {
    mount -t tmpfs -o mode=755,size=90% tmpfs /new
    cp -a /lab/root/. /new/
    mkdir -p /new/proc /new/sys /new/dev /new/tmp /new/run /new/root /new/var/tmp /new/lab /new/mnt
    chmod 1777 /new/tmp /new/var/tmp
    rm -rf /lab/root
    cp -a /lab/. /new/lab/
    # shellcheck source=/dev/null
    . /lab/shown
    mkdir -p /new/lab/out
    mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000" out /new/lab/out
    for folder in dev proc sys; do mount -o move /$folder /new/$folder; done
    exec switch_root /new /lab/init command
}

collect() { # what the command wrote where it ran
    cd "$written" || return
    find . -xdev -name '.?*' -prune -o -name __pycache__ -prune -o -type f -newer /lab/began -print > /lab/found
    : > /lab/errors
    for history in /lab/history.sqlite*; do
        [ -e "$history" ] && cp "$history" /lab/out/ 2>> /lab/errors
    done
    while IFS= read -r path; do
        mkdir -p "/lab/out/folder/${path%/*}" && cp "$path" "/lab/out/folder/$path"
    done < /lab/found 2>> /lab/errors
    [ ! -s /lab/errors ]
}

obey() { # what the host says while the command runs
    while read -r verb one two <&3; do
        case $verb in
            signal) read -r pid < /lab/pid && kill "-$one" "-$pid" ;;
            size) stty -F /dev/hvc0 rows "$one" columns "$two" ;;
        esac
    done
}

run() {
    cd "$cwd" || exit 1
    if [ "$terminal" = yes ]; then
        setsid -c /lab/bin/sh /lab/command < /dev/hvc0 > /dev/hvc0 2>&1 3>&-
    else
        setsid /lab/bin/sh /lab/command < /dev/null > "$(port stdout)" 2> "$(port stderr)" 3>&-
    fi
}

case $0 in
    */modprobe)
        for alias; do :; done
        while read -r pattern module; do
            # shellcheck disable=SC2254  # aliases are patterns
            case $alias in $pattern) load "$module" && exit ;; esac
        done < /lab/boot-modules/aliases
        exit 1
        ;;
esac

if [ "$1" != command ]; then
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    mount -t devtmpfs devtmpfs /dev
    exec 0< /dev/null > /dev/console 2>&1
    while read -r module; do load "$module"; done < /lab/boot-modules/at-once
    make_root
fi

cwd=/ written=/ terminal=no
# shellcheck source=/dev/null
. /lab/settings
echo /lab/modprobe > /proc/sys/kernel/modprobe
mkdir -p /dev/shm /dev/pts
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
ln -s /proc/self/fd /dev/fd
mount -t cgroup2 cgroup2 /sys/fs/cgroup
hostname lab
ifconfig lo 127.0.0.1 up
chmod 666 /dev/kvm /dev/net/tun
control=$(port control) || exit 1
exec 3<> "$control"
mkdir -p "$cwd" /lab/out/folder
# Evidence is outside as soon as it is written.
mkdir -p /lab/out/folder/runs "$cwd/runs" && mount -o bind /lab/out/folder/runs "$cwd/runs"
: > /lab/began
obey &
echo "up $(uname -r)" >&3
run
status=$?
# A command that ended may have left others, which could still write.
[ -s /lab/pid ] && read -r pid < /lab/pid && kill -KILL "-$pid" 2> /dev/null
collect || echo "unsaved $(head -n 1 /lab/errors)" >&3
sync
echo "ended $status" >&3
while :; do sleep 1000; done
