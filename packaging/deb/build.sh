#!/usr/bin/env bash
# Makes a Debian package of a tree that `make install PREFIX=/usr` has filled; changes the tree.
#
#   packaging/deb/build.sh TREE VERSION ARCHITECTURE BUILT-USING FILE
#
# The modification times are at most SOURCE_DATE_EPOCH. Called by hack/release.sh.
set -euo pipefail

[ $# -eq 5 ] || {
    echo "usage: packaging/deb/build.sh TREE VERSION ARCHITECTURE BUILT-USING FILE" >&2
    exit 1
}
tree=$1 version=$2 arch=$3 using=$4 file=$5
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
documents=$tree/usr/share/doc/bulkhead
maintainer=$(git -C "$here" log -1 --format='%cn <%ce>')
date=$(date --utc --date="@${SOURCE_DATE_EPOCH:?}" '+%a, %d %b %Y %H:%M:%S +0000')

# Debian's policy: a reference to the licence that the system has, and compressed pages and changes. The names
# that other pages link to stay.
install -m 644 "$here/copyright" "$documents/copyright"
ln -sf copyright "$documents/LICENSE"
cp "$documents/CHANGELOG.md" "$documents/changelog"
cat >"$documents/changelog.Debian" <<END
bulkhead ($version) unstable; urgency=medium

  * See changelog.gz for the changes of this version.

 -- $maintainer  $date
END
gzip -9n "$documents"/{changelog,changelog.Debian,THIRD-PARTY} "$tree"/usr/share/man/man8/*.8
# Lines with @PROGRAM@ are for each program.
overrides=$tree/usr/share/lintian/overrides
install -d "$overrides"
while IFS= read -r line; do
    case $line in
    *@PROGRAM@*)
        while read -r name place _; do
            printf '%s\n' "${line//@PROGRAM@/usr/$place/$name}"
        done < <(grep -v '^#' "$here/../programs")
        ;;
    *) printf '%s\n' "$line" ;;
    esac
done <"$here/lintian-overrides" >"$overrides/bulkhead"
chmod 644 "$overrides/bulkhead"

size=$(du --apparent-size --summarize --block-size=1024 "$tree" | cut -f 1)
install -d "$tree/DEBIAN"
(cd "$tree" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
while IFS= read -r line; do
    case $line in
    '#'*) continue ;;
    esac
    line=${line//@VERSION@/$version}
    line=${line//@ARCHITECTURE@/$arch}
    line=${line//@MAINTAINER@/$maintainer}
    line=${line//@SIZE@/$size}
    printf '%s\n' "${line//@USING@/$using}"
done <"$here/control" >"$tree/DEBIAN/control"
chmod 644 "$tree"/DEBIAN/*
dpkg-deb --root-owner-group -Zxz --build "$tree" "$file" >&2
