# shellcheck shell=bash
# What only root on a bare Debian needs: installing what is missing, and a root file system to build
# images on where there is no image registry. lib.sh reads this file when it comes to that.

# apt_need PACKAGE...: install those that are missing. Services that come with them are not
# started: the scripts start what they need, and stop it again.
apt_need() {
  local missing=() package policy=/usr/sbin/policy-rc.d made=''
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  step "Installing Debian packages: ${missing[*]}"
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    made=1
  fi
  # Lists may be older than the archive: a package that is gone there is a reason to update.
  if ! apt_install "${missing[@]}"; then
    quietly apt-update apt-get update
    apt_install "${missing[@]}" || {
      [[ -z $made ]] || rm -f "$policy"
      tail -n 30 "$CACHE/log/apt-install.log" >&2
      die "apt-get could not install ${missing[*]}"
    }
  fi
  [[ -z $made ]] || rm -f "$policy"
}

apt_install() {
  apt_lists
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@" \
    >"$CACHE/log/apt-install.log" 2>&1 </dev/null
}

# apt_lists: package lists are there (a fresh container image has none).
apt_lists() {
  compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null || quietly apt-update apt-get update
}

# What the images under tests/images need of Debian.
ROOTFS_PACKAGES=python3-venv,ca-certificates,busybox-static,node-configurable-http-proxy,haproxy

# debian_archives: the machine's Debian archives, one `deb` line for each.
debian_archives() {
  # shellcheck disable=SC2016  # the words in $(…) are apt's
  apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(CODENAME) $(COMPONENT)' 'Identifier: Packages' |
    awk '$1 == "Debian" { print "deb", $2, $3, $4 }' | sort -u
}

# debian_rootfs: make the tarball of a minimal Debian with ROOTFS_PACKAGES, unless it is there. Sets
# ROOTFS to its path. Its name has a hash of what went in, and the images' recipes count it in.
debian_rootfs() {
  local archives suite key work
  apt_need mmdebstrap ca-certificates python3-venv
  apt_lists
  archives=$(debian_archives)
  [[ -n $archives ]] || die "apt knows no Debian archive; run apt-get update and try again"
  # The shortest code name: bookworm, not bookworm-updates.
  suite=$(awk '{ print length($3), $3 }' <<<"$archives" | sort -n | awk 'NR == 1 { print $2 }')
  key=$(printf '%s\n' "$suite" "$ROOTFS_PACKAGES" | sha256sum | cut -c1-16)
  mkdir -p "$CACHE/images"
  ROOTFS=$CACHE/images/debian-$key.tar
  # One script at a time makes it; a second one waits and then finds it made.
  (
    flock 9
    [[ ! -e $ROOTFS ]] || exit 0
    step "Making a Debian root file system"
    rm -f "$CACHE"/images/debian-*.tar
    work=$(mktemp -d "$CACHE/images/work.XXXXXX")
    # In memory where there is plenty: dpkg writes a lot and syncs it.
    if (($(awk '/^MemAvailable/ { print $2 }' /proc/meminfo) > 8 << 20)); then
      mount -t tmpfs -o size=4g tmpfs "$work" 2>/dev/null || true
    fi
    trap 'umount "$work" 2>/dev/null || true; rm -rf "$work"' EXIT
    printf '%s\n' "$archives" >"$work/sources.list"
    TMPDIR=$work quietly rootfs mmdebstrap --variant=minbase --format=tar --include="$ROOTFS_PACKAGES" \
      --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
      --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
      "$suite" "$ROOTFS.part" "$work/sources.list"
    mv "$ROOTFS.part" "$ROOTFS"
  ) 9>"$CACHE/.lock-rootfs"
}
