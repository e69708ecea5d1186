#!/usr/bin/env bash
# Runs make in a fresh Debian of another release, and copies what it builds to dist/:
#
#     bash deploy/deb/make_in.sh trixie deb
#
# Needs root, debootstrap, .venv, which make creates, and Debian's packages. That Debian needs no network: the libraries of
# the lock are downloaded here, with the settings of this machine's pip.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/deb/debian.sh

release=$1
shift
work=$(mktemp -d -p /var/tmp rosterd-make-XXXXXX)
root=$work/root
trap 'rm -rf --one-file-system "$work"' EXIT
makes_debians || { echo 'no Debian can be made here: that takes root, debootstrap, mknod and mount'; exit 1; }

fetch_lock() { # version of Python
    .venv/bin/python -I -m pip download --quiet --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --python-version "$1" --require-hashes --requirement requirements-dev.lock --dest "$root/wheels"
}

make_debian "$release" "$root" make,python3,python3-venv
fetch_lock "$(inside "$root" python3 -I -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
mkdir "$root/rosterd"
git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from=- | tar --extract --directory="$root/rosterd"
inside "$root" env CI="${CI:-}" PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels PYTHON=/usr/bin/python3 \
    SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}" make --no-print-directory -C /rosterd "$@"
if [ -d "$root/rosterd/dist" ]; then
    mkdir -p dist
    cp --preserve=timestamps "$root"/rosterd/dist/* dist/
fi
