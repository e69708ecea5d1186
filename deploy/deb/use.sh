#!/bin/bash
# What a new operator does with a freshly installed rosterd, and what can break; test.sh runs it in the system it booted.
set -uo pipefail
export LC_ALL=C.UTF-8 PATH=/usr/bin:/usr/sbin:/bin:/sbin HOME=/root
cd ~ # the operator's files are in the home folder
upload=/srv/sftp/demo/upload

fail() {
    echo "FAILED: $*"
    journalctl --no-pager --lines=40 -u rosterd -u ssh
    rosterd doctor
    exit 1
}

restart() { # more often than the unit allows within ten minutes
    systemctl daemon-reload && systemctl reset-failed rosterd && systemctl restart rosterd
}

waits_for() { # command, at most 30 s
    for _ in $(seq 150); do
        "$@" > /dev/null 2>&1 && return
        sleep 0.2
    done
    fail "waited in vain for: $*"
}

sftp_as() { # login
    sftp -q -i key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -b - "$1@127.0.0.1"
}

sftp_as_demo() {
    sftp_as demo
}

doctor_says() {
    grep -q -- "$1" <<< "$(rosterd doctor)" || fail "doctor does not say: $1"
    echo "doctor names it: $1"
}

says() { # which command, what: within 30 s
    waits_for sh -c "$1 | grep -qF -- '$2'"
}

named() { # by doctor, by status, by a figure, by the log since "began"
    says 'rosterd doctor' "$1"
    says 'rosterd status' "$2"
    says 'rosterd metrics' "$3"
    says "journalctl --no-pager -o cat -u rosterd --since '$began'" "\"$4\""
    echo "named everywhere: $1"
}

mended() {
    waits_for rosterd status
    began=$(date '+%F %T')
}

mail_by() { # settings below [mail]
    cp kept.toml /etc/rosterd/config.toml
    sed -i "s|^\[mail\]\$|&\n$1|" /etc/rosterd/config.toml
}

systemctl is-active --quiet ssh || systemctl start ssh
ssh-keygen -q -t ed25519 -N '' -f key
sed -i 's|^\[service\]$|&\nsweep_interval_s = 5|' /etc/rosterd/config.toml && systemctl restart rosterd || fail "restart"
echo "== client add"
rosterd client add demo --email it@demo.example --key key.pub --apply || fail "client add"
systemctl is-active rosterd || fail "the service does not run"
echo "== the service"
grep -E '^(Uid|Cap(Eff|Bnd|Amb)|NoNewPrivs|Seccomp):' "/proc/$(systemctl show -P MainPID rosterd)/status"
systemctl show rosterd -p StatusText,NRestarts,MemoryCurrent,WatchdogUSec,Type
systemd-analyze --no-pager security rosterd | tail -n 1

echo "== doctor"
rosterd doctor --probe || [ $? -eq 1 ] || fail "doctor finds a fault" # a clock may be out of step here
grep -q 'with a temporary key reached /upload' <<< "$(rosterd doctor --probe)" || fail "the probe does not log in"

echo "== upload, while the mail server is down"
began=$(date '+%F %T')
cp /etc/rosterd/config.toml kept.toml
mail_by 'host = "127.0.0.1"\nport = 2525\nsecurity = "none"'
systemctl reload rosterd
printf 'unique_id,login_source,first_name,last_name,email\nS1,OPSCOM,Zoe,Roy,zoe@example.org\nS2,OPSCOM,Max,Roy,nonsense\n' > users.csv
chmod 600 users.csv
sftp_as_demo <<< 'put -p users.csv' || fail "sftp put"
says 'rosterd client show demo' ', by key 1' # as the journal of this system has it
waits_for sh -c "ls $upload/.bak/*.failed.csv"
sftp_as_demo <<< 'get .bak/users.*.failed.csv' || fail "sftp get"
grep -q 9033 users.*.failed.csv || fail "the failed row"
named 'Connection refused' 'not delivered and will be retried' 'rosterd_mails{client="demo",state="waiting"} 1' mail.deferred
mail_by ''
systemctl reload rosterd && says "journalctl --no-pager -o cat -u rosterd" '"config.reloaded"'
rosterd mail retry 1 || fail "mail retry"
mended
rosterd status && rosterd imports || fail "status"
ls -la $upload $upload/.bak

echo "== broken, one by one"
systemctl stop rosterd-doctor.timer # what it finds meanwhile would stay in the status
systemctl start rosterd-doctor.service || fail "the unit of doctor"
chmod o+w $upload && doctor_says 'everybody can write' && chmod o-w $upload
usermod --expiredate 2020-01-01 demo && doctor_says 'its account expired' && usermod --expiredate '' demo
systemctl stop ssh && doctor_says 'sshd: is not running'
systemctl start rosterd-doctor.service && fail "the unit of doctor does not fail with a fault"
says 'rosterd status' 'sshd: is not running'
says 'rosterd metrics' 'rosterd_doctor_problems{severity="fault"} 1'
says 'journalctl --no-pager -o cat -u rosterd-doctor' 'sshd: is not running'
systemctl start ssh && systemctl start rosterd-doctor.service || fail "doctor, once sshd runs"
usable='rosterd_inbox_usable{client="demo"}'
chown nobody $upload # a sweep finds it: nothing is uploaded
named 'the service cannot move uploads out of it' 'cannot take uploads out of it' "$usable 0" inbox.unusable
chown rosterd $upload && mended
chown demo $upload/.bak
named 'is not a folder that the service owns' '/.bak: owned by' "$usable 0" inbox.unusable
chown rosterd $upload/.bak && mended
mv $upload /srv/kept
named 'No such file' 'cannot be read' "$usable 0" inbox.unusable
mv /srv/kept $upload && mended

systemctl stop rosterd
mount -t tmpfs -o "size=80m,mode=1770,uid=$(id -u rosterd),gid=$(id -g demo)" tmpfs $upload
systemctl start rosterd
mount -o remount,ro $upload
named 'its file system is read-only' 'it is read-only' "$usable 0" inbox.unusable
mount -o remount,rw $upload && mended
head -c 40M /dev/zero > $upload/ballast
sftp_as_demo <<< 'put users.csv' || fail "sftp put"
named 'fault    disk' ENOSPC 'rosterd_imports_deferred{client="demo"} 1' file.deferred
rm $upload/ballast
waits_for sh -c "ls $upload/.bak/*.failed.csv"
systemctl stop rosterd && cp -a $upload/.bak /srv/kept && umount $upload && cp -a /srv/kept/. $upload/.bak/
systemctl start rosterd && mended

mail_by 'host = "192.0.2.25"\nsecurity = "tls"\ntimeout_s = 1.0' && doctor_says 'IPAddressAllow=192.0.2.25'
mail_by ''
systemctl stop rosterd && doctor_says 'service: is not running' && systemctl start rosterd && mended

echo "== the other commands"
printf 'unique_id,login_source,first_name,last_name,email\nS3,OPSCOM,Eve' > cut.csv
sftp_as_demo <<< 'put cut.csv' && says 'rosterd status' 'cut off'
time rosterd release cut.csv || fail "release"
says 'rosterd imports' 'cut.csv'
sftp_as_demo <<< 'put cut.csv short.csv' && says 'rosterd status | grep short.csv' 'cut off'
rosterd refuse short.csv || fail "refuse"
says 'rosterd imports' 'upload.incomplete'
rosterd show 1 && rosterd users zoe && rosterd export --client demo S1 > /dev/null || fail "seeing in"
rosterd replay 1
says 'rosterd imports' ' 5  '
/opt/rosterd/bin/python3 -I - <<'PYTHON' || fail "a workbook"
import openpyxl
book = openpyxl.Workbook()
for row in ("unique_id login_source first_name last_name email", "S5 OPSCOM Ann Roy ann@example.org", "S6 OPSCOM Max Roy nonsense"):
    book.active.append(row.split())
book.save("staff.xlsx")
PYTHON
sftp_as_demo <<< 'put staff.xlsx' || fail "sftp put"
waits_for sh -c "ls $upload/.bak/staff.*.failed.xlsx"
sftp_as_demo <<< 'get .bak/staff.*.failed.xlsx' || fail "sftp get"
/opt/rosterd/bin/python3 -I -c 'import openpyxl, sys; print(*openpyxl.load_workbook(sys.argv[1]).active.values, sep="\n")' \
    staff.*.failed.xlsx | grep 9033 || fail "the failed workbook"
printf 'unique_id,login_source,first_name,last_name,email\nS4,OPSCOM,Amy,Roy,amy@example.org\n' > amy.csv
rosterd import amy.csv --client demo || fail "import"
rosterd erase --client demo S4 --rewrite-archives --yes || fail "erase"
grep -l amy@ $upload/.bak/* && fail "the archive still holds the person"
rosterd guide --client demo --html | grep -q '<html' || fail "guide"
rosterd verify || fail "verify"
time rosterd status || fail "status"

echo "== readers and a backup"
grep -q '^\[service\]$' /etc/rosterd/config.toml || fail "no [service] in config.toml"
sed -i 's|^\[service\]$|&\nread_copy = "/var/lib/rosterd-read/users.db"|' /etc/rosterd/config.toml
useradd --groups rosterd-read reader && useradd stranger
restart || fail "restart with a read copy"
says "journalctl --no-pager -o cat -u rosterd" '"copy.made"'
as() { # user, command ...
    setpriv --reuid "$1" --regid "$1" --init-groups "${@:2}"
}
as reader rosterd export users --client demo | grep -w S1 || fail "a reader does not read"
as stranger rosterd export users --client demo && fail "a stranger reads"
rosterd backup create moved.tar --files --host-keys && rosterd backup verify moved.tar || fail "backup"
[ "$(stat -c '%a %U' moved.tar)" = '600 root' ] || fail "others can read the backup"
rosterd restore moved.tar && fail "a restore over a living installation"

echo "== the timers"
# The service made .bak anew, and only root can give that to the client's group: doctor names this command.
rosterd client add demo --apply || fail "what doctor says to do"
systemctl start rosterd-doctor.timer
for check in doctor verify; do
    systemctl is-active -q rosterd-$check.timer || fail "the timer of $check does not run"
    systemctl start rosterd-$check.service || fail "$check by its unit"
    says 'rosterd metrics' "rosterd_${check}_problems{severity=\"fault\"} 0"
done

systemctl stop rosterd-doctor.timer
last_import() { # year, year: changes when the last import was
    python3 -I -c 'import sqlite3, sys; conn = sqlite3.connect("/var/lib/rosterd/rosterd.db"); conn.execute(
        "update imports set finished_at = replace(finished_at, ?, ?) where id = 1", sys.argv[1:]); conn.commit()' "$@"
}
year=$(date +%Y)
systemctl stop rosterd && last_import "$year" $((year + 1)) && systemctl start rosterd
systemctl start rosterd-doctor.service && fail "the unit of doctor does not fail with a clock that is behind"
says 'rosterd status' 'clock: is behind'
systemctl stop rosterd && last_import $((year + 1)) "$year" && restart
systemctl start rosterd-doctor.service || fail "doctor, once the clock is right"
mended

echo "== the password"
cat > smtpd.py <<'PYTHON'
import base64, socketserver

class Session(socketserver.StreamRequestHandler):
    def handle(self):
        self.say("220 mail.example.org")
        while line := self.rfile.readline().strip().decode():
            if line.startswith("ehlo"):
                self.say("250-mail.example.org\r\n250 AUTH PLAIN")
            elif line.startswith("AUTH"):
                good = base64.b64decode(line.split()[2]) == b"\0imports@example.org\0right"
                self.say("235 2.7.0 Ok" if good else "535 5.7.8 Authentication credentials invalid")
            elif line == "data":
                self.say("354 Go on")
                with open("mails", "ab") as mails:
                    while (data := self.rfile.readline()) != b".\r\n":
                        mails.write(data)
                self.say("250 2.0.0 Ok")
            else:
                self.say("221 2.0.0 Bye" if line == "quit" else "250 2.0.0 Ok")

    def say(self, line):
        self.wfile.write(line.encode() + b"\r\n")

socketserver.ThreadingTCPServer(("127.0.0.1", 2526), Session).serve_forever()
PYTHON
systemd-run --quiet --unit=smtpd --working-directory=/root python3 -I smtpd.py
password() {
    install -m 0600 /dev/stdin /etc/rosterd/smtp_password <<< "$1"
    restart || fail "restart with a password"
    [ "$(cat /run/credentials/rosterd.service/smtp_password)" = "$1" ] || fail "the password is not handed over"
}
cp /etc/rosterd/config.toml kept.toml
mail_by 'host = "127.0.0.1"\nport = 2526\nsecurity = "none"\nuser = "imports@example.org"'
began=$(date '+%F %T')
password wrong
sftp_as_demo <<< 'put users.csv wrong.csv' || fail "sftp put"
retry_all() { # without the five minutes between two mails to a client, and without back-off; one may take the others along
    rosterd mail retry $(rosterd mail list --json | python3 -I -c 'import json, sys; print(*(m["id"] for m in json.load(sys.stdin)))') ||
        true
}
delivered() {
    retry_all
    grep -q '^To: it@demo.example' mails
}
refused() {
    retry_all
    grep -qF '535 5.7.8' <<< "$(rosterd status)"
}
says 'rosterd mail list' wrong.csv
waits_for refused
doctor_says 'put the password into /etc/rosterd/smtp_password'
named '535 5.7.8' '535 5.7.8' 'rosterd_mail_waiting_since_timestamp_seconds ' mail.deferred
password right
waits_for delivered
mended
systemctl stop smtpd
mail_by '' && restart || fail "restart without a mail server"

echo "== what the unit allows"
. /sandbox.sh
test_addresses
test_ports
test_files
test_elsewhere
test_metrics
test_worker

echo "== the console"
. /console.sh
test_console

echo "== a server for the database"
. /database.sh
test_database

echo "== a client that knows finite fields only"
old_client() {
    sftp -q -i key -o KexAlgorithms=diffie-hellman-group14-sha256 -o StrictHostKeyChecking=no \
        -o UserKnownHostsFile=/dev/null -b - demo@127.0.0.1 <<< 'ls'
}
if sshd -T | grep -q '^kexalgorithms.*diffie-hellman-group14-sha256'; then
    echo "sshd lets it in by itself"
else
    turned_away() { # an address that is penalised is not even answered for some seconds
        ! old_client && grep -qF 'no matching key exchange method' <<< "$(journalctl -u ssh)"
    }
    waits_for turned_away
    grep '^KexAlgorithms' /usr/share/doc/rosterd/docs/upgrading.md > /etc/ssh/sshd_config.d/old-clients.conf
    sshd -t && systemctl reload ssh || fail "reload of sshd"
fi
waits_for old_client

echo "== the end"
systemctl stop rosterd || fail "stop"
systemctl show -P Result rosterd
journalctl --no-pager -u rosterd | tail -n 30
echo "all was well"
