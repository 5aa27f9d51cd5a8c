# shellcheck shell=bash disable=SC2034  # its variables are used by those that source it
# Shared by the scripts that run on the host. Sourced.
set -u
# Continuous integration may start us with no environment at all.
export HOME="${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}"
export PATH="${PATH:-/usr/bin:/bin}:${CARGO_HOME:-$HOME/.cargo}/bin:/usr/local/cargo/bin:/usr/local/bin:/usr/sbin:/sbin"
root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
cache=$root/.cache
python=/usr/bin/python3    # not `python3`, which may be a wrapper without the standard library
say() { echo "==> $*" >&2; }
die() { echo "${0##*/}: $*" >&2; exit 1; }
# shellcheck disable=SC2016  # a variable of apt
debian_mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' |
        grep -v security | sort -u | head -n 1
}
has() { command -v "$1" >/dev/null; }
RUSTUP_TOOLCHAIN=${RUSTUP_TOOLCHAIN:-$("$root/lab/toolchain")}
if [ -n "$RUSTUP_TOOLCHAIN" ]; then export RUSTUP_TOOLCHAIN; else unset RUSTUP_TOOLCHAIN; fi
