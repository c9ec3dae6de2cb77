# Installs the Debian packages named as arguments; services in them are neither started now nor
# enabled for the next boot. INSTALL_ROOT is where the system's folders are: `/` but in tests.
set -eu
export DEBIAN_FRONTEND=noninteractive
root=${INSTALL_ROOT:-}
policy=$root/usr/sbin/policy-rc.d

# Maintainer scripts ask this program before they start a service; 101 says no. One that is there
# already has its reasons, and stays.
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

updated=no
update() {
    apt-get -o DPkg::Lock::Timeout=300 update
    updated=yes
}
install() {
    apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"
}

services_before=$(ls "$root/etc/init.d" 2>/dev/null) || services_before=
for package; do
    if [ $updated = no ] && ! apt-cache show "$package" >/dev/null 2>&1; then
        update
    fi
done
if ! install "$@"; then
    # Lists that are merely old name files that the mirror no longer has.
    [ $updated = no ] || exit 1
    update
    install "$@"
fi

for script in "$root"/etc/init.d/*; do
    service=${script##*/}
    if [ -e "$script" ] && ! printf '%s\n' "$services_before" | grep -qxF -- "$service"; then
        update-rc.d "$service" disable
    fi
done
