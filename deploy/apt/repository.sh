#!/usr/bin/env bash
# Adds the packages in dist/ to a repository for apt in dist/apt, and signs it; see docs/install.md:
#
#     make repo KEY=FINGERPRINT
#
# Needs apt-ftparchive of apt-utils, and the secret key in gpg's key ring. REPO names another folder than dist/apt. Earlier
# packages stay in it, so that hosts can go back to them.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! gpg --batch --list-secret-keys "${KEY:=none}" > /dev/null 2>&1; then
    echo "gpg has no secret key \"$KEY\": name one by make repo KEY=FINGERPRINT, or make one first:" >&2
    echo "gpg --quick-generate-key 'rosterd packages' ed25519 sign never" >&2
    exit 1
fi
repo=${REPO:-dist/apt}
declare -A codenames=([deb12]=bookworm [deb13]=trixie)

add_packages() {
    local package release
    for package in dist/rosterd_*.deb; do
        release=${package#*+}
        release=${release%%[_+]*}
        [ -n "${codenames[$release]:-}" ] || { echo "$package: is for neither Debian 12 nor 13" >&2; exit 1; }
        install -D -m 0644 --preserve-timestamps --target-directory="$repo/pool/${codenames[$release]}" "$package"
    done
}

# What apt reads, signed, in a new folder that takes the place of the old one.
index() { # codename of the release
    local new=dists/$1.new
    rm -rf "$new"
    for architecture in $(find "pool/$1" -name '*.deb' | sed 's/.*_\(.*\)\.deb$/\1/' | sort -u); do
        mkdir -p "$new/main/binary-$architecture"
        apt-ftparchive --arch "$architecture" packages "pool/$1" > "$new/main/binary-$architecture/Packages"
        gzip -9kn "$new/main/binary-$architecture/Packages"
    done
    apt-ftparchive -o APT::FTPArchive::Release::Origin=rosterd -o APT::FTPArchive::Release::Label=rosterd \
        -o APT::FTPArchive::Release::Suite="$1" -o APT::FTPArchive::Release::Codename="$1" \
        -o APT::FTPArchive::Release::Components=main \
        -o APT::FTPArchive::Release::Architectures="$(find "$new" -name 'binary-*' -printf '%f\n' | sed 's/binary-//' | sort | xargs)" \
        release "$new" > Release
    mv Release "$new/Release"
    gpg --batch --yes --local-user "$KEY" --clearsign --output "$new/InRelease" "$new/Release"
    gpg --batch --yes --local-user "$KEY" --armor --detach-sign --output "$new/Release.gpg" "$new/Release"
    rm -rf "dists/$1"
    mv "$new" "dists/$1"
}

umask 022
add_packages
cd "$repo"
mkdir -p dists
for folder in pool/*; do
    index "${folder#pool/}"
done
gpg --batch --export "$KEY" > rosterd.gpg
echo "$repo: $(find pool -name '*.deb' | wc -l) packages"
