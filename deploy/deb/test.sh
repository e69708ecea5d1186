#!/usr/bin/env bash
# Installs, uses, upgrades, removes and purges the newest package in dist/ for a release of Debian (bookworm, trixie; by
# default the one it runs on). It does so in a separate Debian, made by debootstrap in a temporary folder: in a chroot, and,
# if systemd-nspawn can boot it, as a running system with real sshd, sftp and the unit. Needs root, debootstrap and Debian's
# packages; takes about 4 minutes. ROOTFS names a ready system to copy. KEEP_STATE names a file for the state that the
# service leaves behind, TAKE_STATE one from another release that this package must continue with.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/deb/debian.sh

codename=${1:-$(. /etc/os-release && echo "$VERSION_CODENAME")}
work=$(mktemp -d -p /var/tmp rosterd-deb-XXXXXX)
root=$work/root
trap 'rm -rf --one-file-system "$work"' EXIT
passed=0

is() { # what it is, command ...
    local what=$1
    shift
    if ! "$@" > "$work/output" 2>&1; then
        echo "FAILED: $what"
        cat "$work/output"
        exit 1
    fi
    echo "ok: $what"
    passed=$((passed + 1))
}

lacks() {
    local path
    for path in "$@"; do
        [ ! -e "$root$path" ] || { echo "$path is there"; return 1; }
    done
}

has() {
    local path
    for path in "$@"; do
        [ -e "$root$path" ] || [ -L "$root$path" ] || { echo "$path is missing"; return 1; }
    done
}

as_service() { # command ...
    inside "$root" setpriv --reuid rosterd --regid rosterd --init-groups --inh-caps=+dac_read_search,+lease \
        --ambient-caps=+dac_read_search,+lease "$@"
}

if [ -n "${ROOTFS:-}" ]; then
    cp -a "$ROOTFS" "$root"
else
    make_debian "$codename" "$root" \
        dbus,gpg,gpg-agent,iproute2,openssh-client,openssh-server,postgresql,python3,systemd,systemd-sysv
fi
release=$(release_of "$root")
package=$(find dist -name "rosterd_*+${release}_*.deb" -printf '%T@ %p\n' 2> /dev/null | sort -n | tail -n 1 | cut -d' ' -f2)
[ -n "$package" ] || { echo "no package for $release in dist: make deb DEBIAN=$codename"; exit 1; }
echo "== $package"
cp "$package" "$root/rosterd.deb"
cp deploy/deb/libraries.py "$root/"

# Not running: what the package puts where

if command -v lintian > /dev/null; then
    is "has nothing that lintian finds" lintian --allow-root --fail-on error,warning --tag-display-limit 0 "$package"
else
    echo "NOT TESTED: what lintian finds, as it is not installed"
fi

# As the operator of a host does it who has the package from a repository; a folder of its own, signed by a key of its own.
repository() {
    export GNUPGHOME=$work/gnupg
    mkdir -m 0700 "$GNUPGHOME"
    gpg --batch --quiet --passphrase '' --quick-generate-key test ed25519 sign never || return 1
    KEY=$(gpg --list-keys --with-colons | awk -F: '$1 == "fpr" { print $10; exit }') REPO=$root/apt bash deploy/apt/repository.sh
    gpgconf --kill all
    rm "$root/etc/apt/sources.list"
    install -D -m 0644 "$root/apt/rosterd.gpg" "$root/etc/apt/keyrings/rosterd.gpg" || return 1
    sed -n '/^Types: deb$/,/^Signed-By/p' docs/install.md |
        sed "s|^URIs:.*|URIs: file:///apt|; s|^Suites:.*|Suites: $codename|" > "$root/etc/apt/sources.list.d/rosterd.sources"
}

tampered() {
    local index=$root/apt/dists/$codename/InRelease
    cp "$index" "$work/kept"
    sed -i 's/^Label: rosterd/Label: roster/' "$index"
    ! inside "$root" apt-get update || return 1
    mv "$work/kept" "$index"
}

if command -v apt-ftparchive > /dev/null && command -v gpg > /dev/null; then
    is "makes a repository" repository
    is "refuses a repository that somebody has changed" tampered
    is "finds the repository" inside "$root" apt-get update
    is "installs from it, without network" inside "$root" apt-get install -y rosterd
else
    echo "NOT TESTED: the repository, as apt-ftparchive or gpg is not installed"
    is "installs without network" inside "$root" dpkg -i /rosterd.deb
fi
is "has user, group and folders" inside "$root" sh -c 'id rosterd && getent group sftpdrop rosterd-read && test -d /srv/sftp -a -d /var/lib/rosterd'
is "is enabled" has /etc/systemd/system/multi-user.target.wants/rosterd.service \
    /etc/systemd/system/timers.target.wants/rosterd-{doctor,verify}.timer
is "leaves the console to whoever enables it" lacks /etc/systemd/system/multi-user.target.wants/rosterd-console.service
is "imports what is in it, and nothing else" inside "$root" /opt/rosterd/bin/python3 -I /libraries.py
is "answers" inside "$root" rosterd --version
is "has settings that load" inside "$root" sh -c 'rosterd doctor --json | grep -A3 configuration | grep -q "clients: none"'
is "lets sshd start" inside "$root" sh -c 'mkdir -p /run/sshd && ssh-keygen -A && sshd -t'
is "has what its documents name" python3 -I deploy/deb/named.py "$root"
is "has its manual page and completion" has /usr/share/man/man1/rosterd.1.gz /usr/share/bash-completion/completions/rosterd \
    /usr/share/zsh/vendor-completions/_rosterd /usr/share/fish/vendor_completions.d/rosterd.fish

# Running: as a new operator would

boots() {
    command -v systemd-nspawn > /dev/null && [ -d /sys/fs/cgroup ]
}

if boots; then
    cp deploy/deb/use.sh deploy/deb/sandbox.sh deploy/deb/console.sh deploy/deb/database.sh "$root/"
    cat > "$root/etc/systemd/system/use.service" <<'UNIT'
[Unit]
After=multi-user.target ssh.service
[Service]
Type=oneshot
ExecStart=/bin/bash /use.sh
ExecStopPost=/bin/systemctl --no-block poweroff
StandardOutput=file:/use.log
StandardError=file:/use.log
TimeoutStartSec=480
[Install]
WantedBy=default.target
UNIT
    ln -s /etc/systemd/system/use.service "$root/etc/systemd/system/multi-user.target.wants/"
    # One at a time, as two would share the cgroups of their services. With all rights, as the system in there has to load
    # the unit's filters of addresses and ports into the kernel.
    SYSTEMD_SECCOMP=0 flock /run/lock/rosterd-boot timeout --kill-after=10 540 systemd-nspawn --quiet --capability=all \
        --register=no --keep-unit --private-network --console=pipe --directory="$root" --boot < /dev/null > "$work/boot.log" 2>&1 || true
    cat "$root/use.log" || cat "$work/boot.log"
    is "is used as a new operator would" grep -qx 'all was well' "$root/use.log"
    rm "$root/etc/systemd/system/multi-user.target.wants/use.service"
else
    echo "NOT TESTED: the running service, as there is no systemd-nspawn to boot it with"
    inside "$root" rosterd client add demo --email it@demo.example --apply > /dev/null
    as_service rosterd sweep > /dev/null
    inside "$root" rosterd backup create /root/moved.tar --files > /dev/null
fi

if [ -n "${KEEP_STATE:-}" ]; then
    tar --create --file="$KEEP_STATE" --directory="$root" etc/{rosterd,ssh/sftpdrop,passwd,group,shadow,gshadow} \
        srv/sftp var/lib/rosterd root/moved.tar
fi

# Upgrade, remove, purge

echo '# edited' >> "$root/etc/rosterd/config.toml"
dpkg-deb --raw-extract "$package" "$work/next"
sed -i 's/^Version: .*/&+next/' "$work/next/DEBIAN/control"
dpkg-deb --root-owner-group --build "$work/next" "$root/next.deb" > /dev/null

# As a version left it in which the console ran as the service, and a proxy was in the service's group for its socket.
inside "$root" sh -c 'userdel rosterd-console; useradd web --groups rosterd
    echo "{\"users\":[]}" | install -m 0600 -o rosterd -g rosterd /dev/stdin /var/lib/rosterd/console-users.json'
is "upgrades" inside "$root" dpkg -i /next.deb
is "gives the console a user of its own" inside "$root" sh -c \
    'id -nG rosterd-console | grep -qw rosterd && test "$(stat -c %U /var/lib/rosterd/console-users.json)" = rosterd-console'
is "leaves a proxy the console's socket alone" inside "$root" sh -c 'test "$(id -nG web)" = "web rosterd-console"'
is "keeps what was edited" grep -qx '# edited' "$root/etc/rosterd/config.toml"
is "keeps clients" has /etc/rosterd/clients.d/demo.toml /srv/sftp/demo/upload/.bak
is "is removed" inside "$root" dpkg --remove rosterd
is "leaves no program" lacks /opt/rosterd /usr/bin/rosterd /usr/lib/systemd/system/rosterd{,-console}.service
is "leaves settings and data" has /etc/rosterd/config.toml /etc/rosterd/clients.d/demo.toml /var/lib/rosterd
is "is purged" inside "$root" dpkg --purge rosterd
is "leaves no settings" lacks /etc/rosterd /etc/ssh/sftpdrop /etc/ssh/sshd_config.d/rosterd.conf /var/lib/rosterd /var/lib/rosterd-read /run/rosterd \
    /etc/systemd/system/multi-user.target.wants/rosterd-console.service
is "locks the login of a client that is left" inside "$root" sh -c 'test "$(getent shadow demo | cut -d: -f8)" = 1'
is "leaves what clients uploaded" has /srv/sftp/demo/upload/.bak

uploads() { # name, id: a file of one user, by the client
    printf 'unique_id,login_source,first_name,last_name,email\n%s,OPSCOM,Ida,Roy,ida@example.org\n' "$2" \
        > "$root/srv/sftp/demo/upload/$1"
    inside "$root" chown demo:demo "/srv/sftp/demo/upload/$1"
}

# A move: the backup of another release, on a host where the ids of its logins are taken

if [ -n "${TAKE_STATE:-}" ]; then
    tar --extract --file="$TAKE_STATE" --directory="$root" root/moved.tar etc/passwd --transform 's|^etc/passwd$|before|'
    inside "$root" userdel demo
    rm -rf "$root/srv/sftp"
    inside "$root" useradd --uid "$(grep ^demo: "$root/before" | cut -d: -f3)" --user-group local
    is "is installed where there are no clients" inside "$root" dpkg -i /rosterd.deb
    is "shows what a restore would do" inside "$root" rosterd restore /root/moved.tar
    is "has done none of it" lacks /srv/sftp/demo /etc/rosterd/clients.d/demo.toml
    is "restores a backup of another release" inside "$root" rosterd restore /root/moved.tar --apply
    is "gives the login other ids" inside "$root" sh -c 'test "$(id -u demo)" != "$(id -u local)"'
    is "finds all of it whole" inside "$root" sh -c 'rosterd verify || [ $? -eq 1 ]' # 1: a client was removed
    is "finds no fault with the client" inside "$root" sh -c '! rosterd doctor | grep "^fault *client demo" | grep -v "log in"'
    is "finds a restored user" inside "$root" sh -c 'rosterd users zoe | grep -w S1'
    uploads moved.csv S8
    is "imports after the move" as_service rosterd sweep
    is "has recorded it" inside "$root" sh -c 'rosterd users ida | grep -w S8'
    is "is purged again" inside "$root" dpkg --purge rosterd
    inside "$root" userdel local
fi

# What a release upgrade amounts to: the package goes with the old Python, the state stays, the next one takes it over

if [ -n "${TAKE_STATE:-}" ]; then
    rm -rf "$root/srv/sftp" # what this system's own client uploaded, of which the other database knows nothing
    tar --extract --file="$TAKE_STATE" --directory="$root"
    is "is installed over the state of another release" inside "$root" dpkg --force-confold -i /rosterd.deb
    is "finds its promises kept there" inside "$root" sh -c 'rosterd verify || [ $? -eq 1 ]' # 1: a client was removed
    is "finds a user there" inside "$root" sh -c 'rosterd users zoe | grep -w S1'
    uploads next.csv S9
    is "goes on importing" as_service rosterd sweep
    is "has recorded what was uploaded since" inside "$root" sh -c 'rosterd users ida | grep -w S9'
fi
echo "$passed passed, 0 failed"
