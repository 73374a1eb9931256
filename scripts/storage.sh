#!/bin/sh
# Plays what podman asks of containers/storage for one container: create, names, metadata, big data, mount,
# write, unmount, delete. Leaves nothing behind.
#
#   storage.sh IMAGE     CTRFS_AT is the mount (/run/ctrfs)
set -eu
[ $# = 1 ] || { sed -n 's/^#   //p' "$0" >&2; exit 2; }
image=$1 name=storage-$$
cd "${CTRFS_AT:-/run/ctrfs}"
die() { echo "storage.sh: $*" >&2; exit 1; }
# What the tree said to the operation that it has just refused.
refused() { die "$1: $(tail -n 1 refusals | sed 's/.*"reason":"\(.*\)"}$/\1/')"; }

# CreateContainer
id=$(exec 3<>create/ctr && echo "{\"name\":\"$name\",\"image\":\"$image\"}" 2>/dev/null >&3 && read -r id <&3 &&
    echo "$id") || refused create
trap 'echo 0 >"ctr/$id/mounted" && rmdir "ctr/$id"' EXIT
trap 'exit 130' INT TERM HUP
[ "$(cat "layer/$id/name")" = "$name-layer" ] || die "the layer is not called after its container"
# AddNames, SetMetadata, Metadata
echo "$name-alias" >>"ctr/$id/names" || refused names
[ "$(readlink "ctr/$name-alias")" = "$id" ] || die "the second name does not lead to the container"
printf '{"image-name":"%s"}' "$image" >"ctr/$id/metadata" || refused metadata
cat "ctr/$id/metadata" && echo
# SetContainerBigData, ContainerBigData, ListContainerBigData, ContainerBigDataDigest
printf '{"manifest":1}' >"ctr/$id/data/manifest"
cat "ctr/$id/data/manifest" && echo && ls "ctr/$id/data"
(cd "ctr/$id/data" && sha256sum -c ../digests >/dev/null) || die "a digest is wrong"
# Mount, Mounted, ContainerSize, Unmount
echo 1 >"ctr/$id/mounted" || refused mount
echo "from the container" >"ctr/$id/rootfs/greeting"
cat "ctr/$id/rootfs/greeting" "ctr/$id/mounted" "ctr/$id/size-rw"
echo 0 >"ctr/$id/mounted" || refused unmount
[ "$(cat "ctr/$id/mounted")" = 0 ] && [ ! -e "ctr/$id/rootfs/greeting" ] || die "it is still mounted"
# ContainerDirectory
echo kept >"$(readlink "ctr/$id/artifacts")/log"
# DeleteContainer
trap - EXIT
rmdir "ctr/$id" || refused delete
[ ! -e "name/$name" ] && [ ! -e "layer/$id" ] || die "something of $id is left"
