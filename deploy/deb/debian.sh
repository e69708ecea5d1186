# Debian systems in folders, for building and testing the package. Sourced by the scripts that need them.

# Whether such a system can be created here: that needs root, devices and mounts, which a container may refuse.
makes_debians() {
    local folder made=0
    command -v debootstrap > /dev/null || return
    folder=$(mktemp -d)
    mknod "$folder/null" c 1 3 2> /dev/null && unshare --mount mount -t proc proc /proc 2> /dev/null || made=1
    rm -rf "$folder"
    return "$made"
}

make_debian() { # codename of the release, folder, packages with commas between
    local log
    log=$(mktemp)
    debootstrap --variant=minbase --include="$3" "$1" "$2" > "$log" 2>&1 || { tail "$log"; rm "$log"; return 1; }
    rm "$log"
}

release_of() { # folder of a system; its release as the package's version has it: deb12
    (. "$1/etc/os-release" && echo "${ID/debian/deb}${VERSION_ID:-}")
}

inside() { # folder, command ...
    local folder=$1
    shift
    unshare --mount sh -c 'mount -t proc proc "$0/proc" && mount -t tmpfs tmpfs "$0/dev/shm" && exec chroot "$0" "$@"' \
        "$folder" env -i PATH=/usr/bin:/usr/sbin:/bin:/sbin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}
