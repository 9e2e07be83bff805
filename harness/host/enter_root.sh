# Run a command in another root, in the mount namespace that this shell is in already: harness/host/private_root.py.
# Arguments: the root, the options that its filesystem keeps (each after a comma), the working folder, folders that may
# be written to, --, folders that may be read with their options, --, the command.
set -e
trap 'echo "no way into the root" >&2' EXIT
root=$1 flags=$2 folder=$3
shift 3
PATH=$PATH:/usr/sbin:/sbin
mount -t tmpfs -o mode=755 none "$root/mnt"
cd "$root/mnt"
for name in bin etc lib lib32 lib64 libx32 sbin usr; do
  if [ -L "$root/$name" ]; then
    cp -P "$root/$name" .
  elif [ -d "$root/$name" ]; then
    mkdir "$name"
    mount --bind "$root/$name" "$name"
    mount -o "remount,bind,ro$flags" "$name"
  fi
done
# This host's way to the network, and whom it trusts there.
for path in /etc/resolv.conf /etc/hosts /etc/ssl/certs; do
  if [ -e "$path" ] && [ -e ".$path" ]; then mount --bind "$path" ".$path"; fi
done
mkdir proc dev run tmp var var/tmp
mount --rbind /proc proc
mount --rbind /dev dev
mount -t tmpfs -o mode=1777 none tmp
while [ "$1" != -- ]; do
  mkdir -p ".$1"
  mount --bind "$1" ".$1"
  shift
done
shift
while [ "$1" != -- ]; do
  mkdir -p ".$1"
  mount --bind "$1" ".$1"
  mount -o "remount,bind,ro$2" ".$1"
  shift 2
done
shift
exec chroot . sh -c 'cd "$1"; shift; exec "$@"' sh "$folder" "$@"
