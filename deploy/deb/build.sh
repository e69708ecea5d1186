#!/usr/bin/env bash
# Builds dist/rosterd_VERSION+RELEASE_ARCH.deb for the release of Debian that it runs on: a virtual environment in
# /opt/rosterd with the libraries of requirements.lock; installing it fetches nothing. Needs dpkg-deb, Debian's own Python,
# and .venv, which make creates. MAINTAINER, such as "IT <it@example.org>", is whom the package names as its maintainer.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/deb/debian.sh

python=/usr/bin/python3 # the one that the package will use, not the one of .venv
pip=(.venv/bin/python -I -m pip --quiet --disable-pip-version-check)
version=$(.venv/bin/python -I -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')
version+=+$(release_of /)
minor=$("$python" -I -c 'import sys; print(sys.version_info.minor)')
architecture=$(dpkg --print-architecture)
maintainer=${MAINTAINER:-The rosterd authors <rosterd@example.org>}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
opt=$root/opt/rosterd
umask 022

environment() {
    "$python" -I -m venv --without-pip "$opt"
    "${pip[@]}" wheel --no-deps --no-build-isolation --wheel-dir "$work" .
    .venv/bin/python -m deploy.deb.runtime_lock > "$work/lock"
    "${pip[@]}" --python "$opt/bin/python" install --no-compile --no-deps --require-hashes --requirement "$work/lock"
    "${pip[@]}" --python "$opt/bin/python" install --no-compile --no-deps "$work"/rosterd-*.whl
    find "$opt/bin" -mindepth 1 ! -name 'python*' ! -name rosterd -delete
    rm -rf "$opt"/include "$opt"/share "$opt"/lib64 "$opt"/.gitignore
    # PyYAML does without its copy of libyaml: Litestar imports it, and nothing of rosterd is YAML.
    rm -r "$opt"/lib/python3.*/site-packages/{_yaml,yaml/_yaml.*.so}
    rm -f "$opt"/lib/python3.*/site-packages/rosterd-*.dist-info/direct_url.json
    sed -i "1s|.*|#!/opt/rosterd/bin/python3 -I|" "$opt/bin/rosterd"
    printf 'home = /usr/bin\ninclude-system-site-packages = false\n' > "$opt/pyvenv.cfg"
    # Checked by hash, not by time: the files are root's, and nobody could write newer ones beside them.
    "$python" -I -m compileall -q --invalidation-mode unchecked-hash -s "$root" "$opt/lib"
}

settings() {
    install -d "$root/etc/rosterd/clients.d" "$root/etc/ssh/sshd_config.d"
    bash deploy/deb/config.sh < config.toml > "$root/etc/rosterd/config.toml"
    install -m 0644 deploy/sshd_config.d/rosterd.conf "$root/etc/ssh/sshd_config.d/"
    install -D -m 0644 deploy/rosterd.service "$root/usr/lib/systemd/system/rosterd.service"
    install -m 0644 deploy/rosterd-console.service "$root/usr/lib/systemd/system/"
    install -m 0644 deploy/timers/* "$root/usr/lib/systemd/system/"
    install -D -m 0644 deploy/sysusers.d/rosterd.conf "$root/usr/lib/sysusers.d/rosterd.conf"
    install -D -m 0644 deploy/tmpfiles.d/rosterd.conf "$root/usr/lib/tmpfiles.d/rosterd.conf"
}

command_line() {
    install -d "$root/usr/bin" "$root/usr/share/man/man1" "$root/usr/share/bash-completion/completions"
    ln -s /opt/rosterd/bin/rosterd "$root/usr/bin/rosterd"
    gzip -9n < docs/rosterd.1 > "$root/usr/share/man/man1/rosterd.1.gz"
    install -d "$root/usr/share/zsh/vendor-completions" "$root/usr/share/fish/vendor_completions.d"
    completion bash > "$root/usr/share/bash-completion/completions/rosterd"
    completion zsh > "$root/usr/share/zsh/vendor-completions/_rosterd"
    # Descriptions have commas, which click's script takes for the end of them.
    completion fish | sed 's/string split ","/string split --max 1 ","/' > "$root/usr/share/fish/vendor_completions.d/rosterd.fish"
}

completion() { # shell
    _ROSTERD_COMPLETE=${1}_source "$opt/bin/python" -I -c 'from operate.cli import main; main(prog_name="rosterd")'
}

# In the folders of the repository, so that links between documents, and to examples, work.
documents() {
    local folder=$root/usr/share/doc/rosterd
    install -d "$folder/docs" "$folder/deploy"
    install -m 0644 config.toml LICENSE ./*.md "$folder"
    install -m 0644 docs/*.md docs/*.svg docs/*.png "$folder/docs"
    cp -r deploy/{fail2ban,grafana,log,prometheus,sshd_config.d,sysusers.d,tmpfiles.d,timers,rosterd.service,rosterd-console.service} "$folder/deploy"
    install -D -m 0644 --target-directory="$folder/tests/data" tests/data/*.csv
    .venv/bin/python -I deploy/deb/copyright.py "$opt"/lib/python3.*/site-packages > "$folder/copyright"
    gzip -9n > "$folder/changelog.gz" <<CHANGELOG
rosterd ($version) $(. /etc/os-release && echo "$VERSION_CODENAME"); urgency=medium

  * What changed is in /usr/share/doc/rosterd/CHANGELOG.md.

 -- $maintainer  $(date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")
CHANGELOG
    install -D -m 0644 deploy/deb/lintian-overrides "$root/usr/share/lintian/overrides/rosterd"
}

control() {
    install -d "$root/DEBIAN"
    install -m 0755 deploy/deb/{postinst,prerm,postrm} "$root/DEBIAN/"
    printf '%s\n' /etc/rosterd/config.toml /etc/ssh/sshd_config.d/rosterd.conf > "$root/DEBIAN/conffiles"
    cat > "$root/DEBIAN/control" <<CONTROL
Package: rosterd
Version: $version
Architecture: $architecture
Maintainer: $maintainer
Section: admin
Priority: optional
Recommends: libpq5
Suggests: gpg, gpg-agent
Depends: python3 (>= 3.$minor~), python3 (<< 3.$((minor + 1))~), libc6, openssh-server, passwd, systemd (>= 247), tzdata
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Description: imports of user lists that clients upload by SFTP
 A daemon that runs next to OpenSSH. Client organisations upload CSV files of
 their users; within seconds rosterd imports them into SQLite. Rows that could
 not be imported go back to the client as a CSV file with the reasons.
CONTROL
}

checksums() {
    (cd "$root" && find opt usr -type f -print0 | sort --zero-terminated | xargs --null md5sum) > "$root/DEBIAN/md5sums"
}

environment
settings
command_line
documents
control
checksums
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
mkdir -p dist
dpkg-deb --root-owner-group --build "$root" "dist/rosterd_${version}_$architecture.deb"
