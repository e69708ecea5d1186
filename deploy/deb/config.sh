#!/usr/bin/env bash
# Reads config.toml, the reference, and writes it as /etc/rosterd/config.toml: every setting with its comment, none of
# them set, and no client.
set -euo pipefail
cat <<'HEADER'
# rosterd: all settings, each with its default. Remove the "#" in front to change one, then:
#
#     rosterd doctor && systemctl restart rosterd
#
# Each client has its own file, clients.d/NAME.toml next to this one; "rosterd client add" writes it. The password for
# mail is in smtp_password next to this file, that for a database on a server in database_password; both are owned by
# root and have mode 0600.
#
# Times are in seconds and sizes in bytes unless stated otherwise. rosterd does not start with unknown keys or bad values;
# it names the key, what it found and what it expected.


HEADER
sed -e '1,/^\[service\]$/{/^\[service\]$/!d}' \
    -e 's|^state_dir = .*|# state_dir = "/var/lib/rosterd"|' \
    -e '/^# One table for each organisation/,$d'
