#!/bin/bash
# What a new operator does with a freshly installed rosterd, and then breaks; run by test.sh inside the system it booted.
set -uo pipefail
export LC_ALL=C.UTF-8 PATH=/usr/bin:/usr/sbin:/bin:/sbin HOME=/root
upload=/srv/sftp/demo/upload

fail() {
    echo "FAILED: $*"
    journalctl --no-pager --lines=40 -u rosterd -u ssh
    rosterd doctor
    exit 1
}

waits_for() { # command, at most 30 s
    for _ in $(seq 150); do
        "$@" > /dev/null 2>&1 && return
        sleep 0.2
    done
    fail "waited in vain for: $*"
}

sftp_as_demo() {
    sftp -q -i /root/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -b - demo@127.0.0.1
}

doctor_says() {
    grep -q -- "$1" <<< "$(rosterd doctor)" || fail "doctor does not say: $1"
    echo "doctor names it: $1"
}

systemctl is-active --quiet ssh || systemctl start ssh
ssh-keygen -q -t ed25519 -N '' -f /root/key
echo "== client add"
rosterd client add demo --email it@demo.example --key /root/key.pub --apply || fail "client add"
systemctl is-active rosterd || fail "the service does not run"
echo "== the service"
grep -E '^(Uid|Cap(Eff|Bnd|Amb)|NoNewPrivs|Seccomp):' "/proc/$(systemctl show -P MainPID rosterd)/status"
systemctl show rosterd -p StatusText,NRestarts,MemoryCurrent,WatchdogUSec,Type

echo "== doctor"
rosterd doctor || [ $? -eq 1 ] || fail "doctor finds a fault" # a clock may be out of step here

echo "== upload"
printf 'unique_id,login_source,first_name,last_name,email\nS1,OPSCOM,Zoe,Roy,zoe@example.org\nS2,OPSCOM,Max,Roy,nonsense\n' > /root/users.csv
chmod 600 /root/users.csv
sftp_as_demo <<< 'put -p /root/users.csv' || fail "sftp put"
waits_for sh -c "ls $upload/.bak/*.failed.csv"
sftp_as_demo <<< 'get .bak/users.*.failed.csv /root/' || fail "sftp get"
grep -q 9033 /root/users.*.failed.csv || fail "the failed row"
rosterd status && rosterd imports || fail "status"
ls -la $upload $upload/.bak

echo "== broken, one by one"
chmod o+w $upload && doctor_says 'everybody may write' && chmod o-w $upload
chown demo $upload/.bak && doctor_says 'not a folder of the service' && chown rosterd $upload/.bak
mv $upload /srv/kept && doctor_says 'No such file' && mv /srv/kept $upload
mail_by() { # settings below [mail]
    cp /root/config.toml /etc/rosterd/config.toml
    sed -i "s|^\[mail\]\$|&\n$1|" /etc/rosterd/config.toml
}
cp /etc/rosterd/config.toml /root/config.toml
mail_by 'host = "127.0.0.1"\nsecurity = "none"' && doctor_says 'Connection refused'
mail_by 'host = "192.0.2.25"\nsecurity = "tls"\ntimeout_s = 1.0' && doctor_says 'IPAddressAllow=192.0.2.25'
mail_by ''
systemctl stop rosterd && doctor_says 'does not run' && systemctl start rosterd


echo "== the password"
install -m 0600 /dev/stdin /etc/rosterd/smtp_password <<< secret
systemctl restart rosterd || fail "restart with a password"
[ "$(cat /run/credentials/rosterd.service/smtp_password)" = secret ] || fail "the password is not handed over"

echo "== the end"
systemctl stop rosterd || fail "stop"
systemctl show -P Result rosterd
journalctl --no-pager -u rosterd | tail -n 30
echo "all was well"
