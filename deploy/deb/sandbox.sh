# What the unit denies and allows the service, each tried from inside the service; sourced by use.sh.

# In the service's cgroup, because the filters for addresses and ports apply to it.
in_cgroup() {
    local cgroups=/sys/fs/cgroup
    [ -e $cgroups/cgroup.controllers ] || cgroups=$cgroups/unified
    sh -c 'echo $$ > "$0/cgroup.procs" && exec "$@"' "$cgroups$(systemctl show -P ControlGroup rosterd)" "$@"
}

# In the service's mount namespace, as its user.
in_view() {
    nsenter --target "$(systemctl show -P MainPID rosterd)" --mount \
        setpriv --reuid rosterd --regid rosterd --clear-groups "$@"
}

connects() { # address, port
    echo "import socket; socket.create_connection(('$1', $2), 5)"
}

binds() { # kind, port
    echo "import socket; socket.socket(socket.AF_INET, socket.SOCK_$1).bind(('127.0.0.1', $2))"
}

# systemd loads filters into the kernel as programs; if it cannot, it only warns. So a separate command tests each filter.
acts() { # setting, program that it must refuse
    if systemd-run --quiet --wait --collect --property "$1" python3 -I -c "$2" 2> /dev/null; then
        echo "NOT TESTED: ${1%%=*}= does not act here, as systemd may not load BPF programs"
        return 1
    fi
}

refuses() { # what it is, command ...
    local what=$1
    shift
    ! "$@" 2> /dev/null || fail "the unit does not keep the service from $what"
    echo "the unit keeps the service from $what"
}

allows() { # what it is, command ...
    local what=$1
    shift
    "$@" || fail "the unit keeps the service from $what"
    echo "the unit allows $what"
}

test_addresses() {
    ip address add 192.0.2.25/32 dev lo
    systemd-run --quiet --unit=stranger python3 -I -m http.server 2500 --directory /var/empty
    waits_for python3 -I -c "$(connects 192.0.2.25 2500)"
    acts IPAddressDeny=any "$(connects 192.0.2.25 2500)" || return 0
    refuses 'another address' in_cgroup python3 -I -c "$(connects 192.0.2.25 2500)"
    allows 'this machine' in_cgroup python3 -I -c "$(connects 127.0.0.1 2500)"
}

test_ports() {
    allows 'listening for metrics' in_cgroup python3 -I -c "$(binds STREAM 9188)"
    systemctl --version | grep -q -- '+BPF_FRAMEWORK' || { echo "the systemd of this release has no SocketBindDeny="; return 0; }
    acts SocketBindDeny=any "$(binds STREAM 9188)" || return 0
    refuses 'listening by UDP' in_cgroup python3 -I -c "$(binds DGRAM 9188)"
    refuses 'listening at a port of the system' in_cgroup python3 -I -c "$(binds STREAM 999)"
}

test_files() {
    local seen
    seen=$(nsenter --target "$(systemctl show -P MainPID rosterd)" --mount ls / | grep -vx lib64 | xargs)
    [ "$seen" = 'bin dev etc lib opt proc root run sbin srv sys tmp usr var' ] || fail "the service sees more of the host: $seen"
    echo "the unit gives the service a root of its own"
    mkdir -p /var/lib/other
    refuses 'the state of others' in_view ls /var/lib/other
    for folder in /srv/sftp/demo/upload /var/lib/rosterd /tmp /var/tmp /dev/shm; do
        in_view cp /usr/bin/true $folder/true || fail "the service cannot write to $folder"
        refuses "running what it wrote to $folder" in_view $folder/true
        in_view rm $folder/true
    done
    for folder in / /etc /lib /opt /run /usr /var/lib; do
        refuses "writing to $folder" nsenter --target "$(systemctl show -P MainPID rosterd)" --mount touch $folder/new
    done
    [ "$(stat -c '%a %G' /var/lib/rosterd /var/lib/rosterd/rosterd.db | xargs)" = '710 rosterd 640 rosterd' ] || fail "others may read the database"
}

# Figures at a port, and in a folder of /var/lib that a drop-in lets in.
test_metrics() {
    local folder=/var/lib/prometheus/node-exporter drop_in=/etc/systemd/system/rosterd.service.d
    install -d -o rosterd $folder && mkdir -p $drop_in
    printf '[Service]\nBindPaths=%s\n' $folder > $drop_in/metrics.conf
    cp /etc/rosterd/config.toml kept.toml
    sed -i "s|^\[metrics\]\$|&\nlisten = \"127.0.0.1:9188\"\ntextfile = \"$folder/rosterd.prom\"|" /etc/rosterd/config.toml
    restart || fail "restart with metrics"
    waits_for python3 -I -c \
        "from urllib.request import urlopen as get; assert b'rosterd_' in get('http://127.0.0.1:9188/metrics').read()"
    waits_for grep -q rosterd_daemon_running $folder/rosterd.prom
    echo "figures are served, and written below /var/lib"
    mv kept.toml /etc/rosterd/config.toml && rm $drop_in/metrics.conf
    restart || fail "restart without metrics"
}

# An inbox outside /srv/sftp; in older units, without a root directory, a drop-in could have ReadWritePaths=.
test_elsewhere() {
    local folder=/srv/other client=/etc/rosterd/clients.d/other.toml drop_in=/etc/systemd/system/rosterd.service.d
    install -d -o rosterd $folder/upload && mkdir -p $drop_in
    printf '[[client]]\nname = "other"\ninbox = "%s"\n' $folder/upload > $client
    printf '[Service]\nReadWritePaths=%s\n' $folder > $drop_in/inbox.conf
    restart || fail "restart with ReadWritePaths="
    doctor_says "BindPaths=$folder;"
    printf '[Service]\nBindPaths=%s\n' $folder >> $drop_in/inbox.conf
    restart || fail "restart with BindPaths="
    ! grep -q BindPaths= <<< "$(rosterd doctor)" || fail "doctor asks for what is there"
    cp users.csv $folder/upload
    says 'rosterd imports --client other' users.csv
    rm $client $drop_in/inbox.conf
    restart || fail "restart without the other inbox"
}

# The worker process for a large file, of a client that was added after the start and has a log socket.
test_worker() {
    rosterd client add later --email it@later.example --key key.pub --log-sessions --apply > /dev/null || fail "client add"
    says 'rosterd doctor' 'the service receives its session log at /srv/sftp/later/dev/log'
    python3 -I -c 'print("unique_id,login_source,first_name,last_name,email"); [
        print(f"S{i},OPSCOM,Zoe,Roy,zoe{i}@later.example") for i in range(100_000)]' > large.csv
    sftp_as later <<< 'put large.csv' || fail "sftp put"
    says 'rosterd imports --client later' '100000'
    says 'ls /srv/sftp/later/upload/.bak' '.result.txt'
    sftp_as later <<< 'get .bak/large.*.result.txt' || fail "sftp get"
    rosterd client remove later --with-files --apply > /dev/null || fail "client remove"
}

# An encrypted upload: gpg and its agent run under the unit, and end.
test_pgp() {
    command -v gpg gpg-agent > /dev/null || { echo "NOT TESTED: encrypted uploads, as there is no gpg"; return 0; }
    rosterd pgp init || fail "pgp init"
    [ "$(stat -c '%U %a' /var/lib/rosterd/pgp /var/lib/rosterd/pgp/*.d/*.key | sort -u)" = $'rosterd 600\nrosterd 700' ] ||
        fail "others can read the private key, or the service cannot"
    rosterd pgp public-key > import-key.asc || fail "pgp public-key"
    cp /etc/rosterd/config.toml kept.toml
    sed -i 's|^\[file\]$|&\naccept = ["xlsx", "zip", "gz", "pgp"]|' /etc/rosterd/config.toml
    systemctl reload rosterd
    gpg --batch --encrypt --recipient-file import-key.asc --output secret.csv.gpg users.csv || fail "gpg"
    sftp_as_demo <<< 'put secret.csv.gpg' || fail "sftp put"
    says 'rosterd imports' 'secret.csv.gpg'
    says "ls $upload/.bak" 'secret.'
    says 'rosterd doctor' 'our key'
    sftp_as_demo <<< 'get .bak/secret.*.result.txt' || fail "sftp get"
    grep -q 9033 secret.*.result.txt || fail "the upload was not decrypted"
    ! grep -qsa '[r]osterd-pgp-' /proc/[0-9]*/cmdline || fail "gpg or its agent is left"
    mv kept.toml /etc/rosterd/config.toml && systemctl reload rosterd
    echo "an encrypted upload was imported"
}
