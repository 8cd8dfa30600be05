#!/usr/bin/env bash
# container_check.sh: scripts/container_install.sh in a bare Debian 12, as an image build runs it, on what is committed; then
# the programs are checked there without what built them. Root and debootstrap; about 15 minutes on two cores, 6 GB.
#   MICRODIT_MIRROR=URL   Debian mirror (default: deb.debian.org)
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "container_check.sh: needs root, for chroot" >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "container_check.sh: debootstrap is missing: apt-get install debootstrap" >&2; exit 2; }
root=$(mktemp -d)
chmod 755 "$root"
finish() {
  for folder in dev/shm dev sys proc; do umount -l "$root/$folder" 2>/dev/null || true; done
  rm -rf --one-file-system "$root"
}
trap finish EXIT
debootstrap --variant=minbase --include=ca-certificates bookworm "$root" "${MICRODIT_MIRROR:-http://deb.debian.org/debian}" >/dev/null
# The host's way to the internet: certificates, names, proxies of apt and pip.
cp /etc/resolv.conf /etc/hosts "$root/etc/"
cp -r /etc/ssl/certs/. "$root/etc/ssl/certs/"
[ ! -f /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/"
cp /etc/apt/apt.conf.d/99* "$root/etc/apt/apt.conf.d/" 2>/dev/null || true
for folder in proc sys dev dev/shm; do mkdir -p "$root/$folder"; mount --bind "/$folder" "$root/$folder"; done
# As the definitions in containers/ copy it.
mkdir "$root/src"
git archive HEAD CMakeLists.txt CMakePresets.json README.md LICENSE CHANGELOG.md cmake jobs src scripts slurm configs assets | tar -x -C "$root/src"
inside() {
  chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    PIP_CERT="${PIP_CERT:-}" SSL_CERT_FILE="${SSL_CERT_FILE:-}" "$@"
}
inside /src/scripts/container_install.sh /opt/microdit
cp scripts/container_install.sh "$root/check.sh"
rm -rf "$root/src"
inside bash -c 'mkdir /scripts && mv /check.sh /scripts/ && bash /scripts/check.sh --check /opt/microdit'
inside /opt/microdit/bin/doctor env || true
du -sh "$root/opt/microdit" >&2
