#!/bin/sh
# Make the images of the container tests without a registry, unless they are there: localhost/turnmix-test:1
# (Debian with Python, pytest, git and patch) and localhost/turnmix-test-tiny:1 (a POSIX shell, and little else).
set -eu
here=$(dirname "$0")
missing=
for program in podman runc debootstrap; do
    command -v "$program" >/dev/null || missing="$missing $program"
done
[ -x /bin/busybox ] && busybox 2>/dev/null | grep -q mkfifo || missing="$missing busybox-static"
if [ "$missing" ]; then
    # shellcheck disable=SC2086  # one word for each package
    sh "$here/apt_install.sh" $missing
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

if ! podman image exists localhost/turnmix-test-tiny:1; then
    mkdir -p "$folder/tiny/bin" "$folder/tiny/tmp" "$folder/tiny/etc" "$folder/tiny/root"
    echo 'root:x:0:0::/root:/bin/sh' >"$folder/tiny/etc/passwd"
    cp /bin/busybox "$folder/tiny/bin/"
    for name in sh cat mkdir rm; do
        ln -s busybox "$folder/tiny/bin/$name"
    done
    tar -C "$folder/tiny" -c . | podman import -q - localhost/turnmix-test-tiny:1
fi

if ! podman image exists localhost/turnmix-test:1; then
    echo "making localhost/turnmix-test:1, which takes a minute or two"
    suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
    [ "$(. /etc/os-release && echo "$ID")" = debian ] || suite=stable
    debootstrap --variant=minbase --include=python3,python3-pytest,git,patch "$suite" "$folder/root" >"$folder/log" || {
        tail -n 5 "$folder/log" >&2
        exit 1
    }
    tar -C "$folder/root" --exclude='./var/cache/apt/archives/*' --exclude='./var/lib/apt/lists/*' \
        --exclude='./dev/*' --exclude='./usr/share/doc/*' --exclude='./usr/share/locale/*' -c . |
        podman import -q - localhost/turnmix-test:1
fi
