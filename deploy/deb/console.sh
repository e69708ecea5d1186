# The operator's web page as its unit serves it; sourced by use.sh.

cat > browse.py <<'PYTHON'
"""Log in to the console as olga and print what these paths show."""
import http.cookiejar, re, sys, urllib.parse, urllib.request

PAGE = "http://127.0.0.1:9189"
browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
token = re.search(r'name="_csrf_token" value="([^"]+)"', browser.open(PAGE + "/login").read().decode())[1]
form = {"_csrf_token": token, "name": "olga", "password": "correct horse battery staple"}
browser.open(PAGE + "/login", urllib.parse.urlencode(form).encode())
for path in sys.argv[1:]:
    print(browser.open(PAGE + path).read().decode())
PYTHON

shown() { # text, paths ...
    grep -qF -- "$1" <<< "$(python3 -I browse.py "${@:2}")" || fail "the console does not show: $1"
}

in_console() { # command ...: as the console's user, with the folders that its unit gives it
    nsenter --target "$(systemctl show -P MainPID rosterd-console)" --mount \
        setpriv --reuid rosterd-console --regid rosterd-console --init-groups "$@"
}

# What somebody who took the console over could not do, each tried from inside the unit.
test_taken_over() {
    local state=/var/lib/rosterd
    allows 'the console reading the database' in_console test -r $state/rosterd.db
    refuses 'writing to the database' in_console sh -c ": >> $state/rosterd.db"
    refuses 'saying who may log in' in_console sh -c ": >> $state/console-users.json"
    refuses 'a file in the state directory' in_console touch $state/new
    refuses 'the names in the state directory' in_console ls $state
    refuses 'mail' in_console ls $state/mail
    refuses 'the inboxes of clients' in_console ls /srv/sftp
    refuses 'the password for mail' in_console cat /etc/rosterd/smtp_password
    refuses 'ending the service' in_console kill -TERM "$(systemctl show -P MainPID rosterd)"
}

test_console() {
    local exposure
    rosterd console user add olga --role operator <<< 'correct horse battery staple' || fail "console user add"
    [ "$(stat -c '%U %a' /var/lib/rosterd/console-users.json)" = 'rosterd-console 600' ] || fail "others can read who may log in"
    systemctl enable --now rosterd-console || fail "the console does not start"
    waits_for python3 -I -c "$(connects 127.0.0.1 9189)"
    shown '</html>' /
    shown users.csv /imports
    shown 9033 /imports/1
    shown '"openapi"' /api/openapi.json
    says "journalctl --no-pager -o cat -u rosterd-console" '"console.entered"'
    echo "the console shows what was imported"
    exposure=$(systemd-analyze --no-pager security rosterd-console | sed -n 's/.*exposure level.*: \([0-9.]*\) .*/\1/p')
    echo "exposure of the console: $exposure"
    awk -v is="$exposure" 'BEGIN { exit !(is != "" && is <= 1.5) }' || fail "the unit of the console exposes more than 1.5"
    systemctl show rosterd-console -p MemoryCurrent,NRestarts
    shown S1 /imports/1/files/0
    test_taken_over
    kill -KILL "$(systemctl show -P MainPID rosterd)" && shown 9033 /imports/1 || fail "the console after the service was killed"
    systemctl stop rosterd && shown 'The service is not running' / && shown 9033 /imports/1 && restart ||
        fail "the console while the service is down"
    systemctl stop rosterd-console || fail "stop of the console"
    [ "$(systemctl show -P Result rosterd-console)" = success ] || fail "the console does not stop"
}
