#!/usr/bin/env bash
# Reads config.toml, the reference, and writes it as /etc/rosterd/config.toml: every setting with its comment, none of
# them set, and no client.
set -euo pipefail
cat <<'HEADER'
# rosterd: every setting there is, each with its default. Remove the "#" in front to change one, then:
#
#     rosterd doctor && systemctl restart rosterd
#
# Clients have files of their own, clients.d/NAME.toml beside this one; "rosterd client add" writes them. The password
# for mail stands in smtp_password beside this file, root's and with mode 0600.
#
# Times are in seconds, sizes in bytes unless they say otherwise. Unknown keys and bad values stop the start, with the
# key, what was found and what was expected.


HEADER
sed -e '1,/^\[service\]$/{/^\[service\]$/!d}' \
    -e 's|^state_dir = .*|# state_dir = "/var/lib/rosterd"|' \
    -e '/^# One table for each organisation/,$d'
