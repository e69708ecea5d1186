# A PostgreSQL server in place of the file, by password and by socket; sourced by use.sh.

on_server() { # statement
    (cd / && setpriv --reuid postgres --regid postgres --init-groups psql --no-psqlrc --tuples-only --no-align \
        --set=ON_ERROR_STOP=1 --command="$1" "${2:-rosterd}")
}

database_is() { # URL
    cp sqlite.toml /etc/rosterd/config.toml
    sed -i "s|^\[service\]\$|&\ndatabase = \"$1\"|; /^read_copy/d" /etc/rosterd/config.toml
}

imports_there() { # file that client elsewhere uploads, with 5,000 users
    python3 -I -c 'print("unique_id,login_source,first_name,last_name,email"); [
        print(f"S{i},OPSCOM,Zoe,Roy,zoe{i}@elsewhere.example") for i in range(5000)]' > "$1"
    sftp_as elsewhere <<< "put $1" || fail "sftp put"
    says 'rosterd imports --client elsewhere' "$1"
    says 'ls /srv/sftp/elsewhere/upload/.bak' "${1%.csv}."
    [ "$(on_server "SELECT count(*) FROM users WHERE client = 'elsewhere'")" = 5000 ] || fail "the users are not on the server"
}

test_database() {
    local url=postgresql://rosterd@127.0.0.1/rosterd password=/etc/rosterd/database_password
    local drop_in=/etc/systemd/system/rosterd.service.d/socket.conf
    command -v pg_ctlcluster > /dev/null || { echo "NOT TESTED: PostgreSQL, as it is not installed"; return 0; }
    waits_for on_server 'SELECT 1' postgres
    on_server "CREATE ROLE rosterd LOGIN PASSWORD 'right'" postgres && on_server 'CREATE DATABASE rosterd OWNER rosterd' postgres ||
        fail "a database on the server"
    cp /etc/rosterd/config.toml sqlite.toml
    rosterd client add elsewhere --email it@elsewhere.example --key key.pub --apply > /dev/null || fail "client add"
    install -m 0600 /dev/stdin $password <<< wrong
    systemctl stop rosterd
    rosterd store copy --to $url && fail "a copy with the wrong password"
    began=$(date '+%F %T')
    database_is $url
    systemctl reset-failed rosterd && systemctl --no-block start rosterd
    says "journalctl --no-pager -o cat -u rosterd --since '$began'" 'password authentication failed'
    doctor_says $password
    systemctl stop rosterd
    install -m 0600 /dev/stdin $password <<< right
    cp sqlite.toml /etc/rosterd/config.toml
    rosterd store copy --to $url || fail "a copy to the server"
    database_is $url
    restart || fail "restart with a server"
    [ "$(cat /run/credentials/rosterd.service/database_password)" = right ] || fail "the password is not handed over"
    rosterd users zoe | grep -w S1 || fail "a user who was copied is not there"
    doctor_says '127.0.0.1/rosterd: PostgreSQL'
    imports_there staff.csv
    rosterd verify || [ $? -eq 1 ] || fail "verify with a server" # 1: clients were removed
    for check in doctor verify; do
        systemctl start rosterd-$check.service || fail "$check by its unit, with a server"
    done
    systemctl start rosterd-console || fail "the console with a server"
    waits_for python3 -I -c "$(connects 127.0.0.1 9189)"
    shown staff.csv /imports
    systemctl stop rosterd-console
    echo "the service, its commands and the console work with a server"

    rm $password
    database_is 'postgresql://rosterd@/rosterd?host=/run/postgresql'
    install -d "${drop_in%/*}" && printf '[Service]\nBindReadOnlyPaths=/run/postgresql\n' > $drop_in
    restart || fail "restart with the socket of a server"
    sed 's/Roy/Ray/' staff.csv > again.csv
    sftp_as elsewhere <<< 'put again.csv' || fail "sftp put"
    says "setpriv --reuid rosterd --regid rosterd --clear-groups rosterd imports --client elsewhere" again.csv
    waits_for sh -c 'ls /srv/sftp/elsewhere/upload/.bak/again.*'
    echo "the service works with the socket of a server"

    systemctl stop rosterd && rm $drop_in
    cp sqlite.toml /etc/rosterd/config.toml
    rosterd client remove elsewhere --with-files --apply > /dev/null || fail "client remove"
    restart || fail "restart without a server"
}
