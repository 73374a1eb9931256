#!/bin/sh
# Plays what a kubelet asks of CRI-O, as far as storage answers it: a pod sandbox, two containers in it, their
# metadata, start, stop, removal. Leaves nothing behind.
#
#   cri.sh IMAGE     CTRFS_AT is the mount (/run/ctrfs)
set -eu
[ $# = 1 ] || { sed -n 's/^#   //p' "$0" >&2; exit 2; }
image=$1
cd "${CTRFS_AT:-/run/ctrfs}"
die() { echo "cri.sh: $*" >&2; exit 1; }
# What the tree said to the operation that it has just refused.
refused() { die "$1: $(tail -n 1 refusals | sed 's/.*"reason":"\(.*\)"}$/\1/')"; }
# create KIND DOCUMENT  Prints the ID of what it makes.
create() { (exec 3<>"create/$1" && printf '%s\n' "$2" 2>/dev/null >&3 && read -r id <&3 && echo "$id") || refused "$1"; }
remove_all() { echo "{\"verb\":\"remove\",\"pod\":\"$pod\",\"recursive\":true}" >control || refused "$pod"; }

pod=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n') uid=$(cat /proc/sys/kernel/random/uuid)
name=k8s_shop_default_$uid
of="\"podName\":\"$name\",\"podID\":\"$pod\",\"imageName\":\"$image\""
# RunPodSandbox
create sandbox "{$of,\"containerName\":\"k8s_POD_shop_default_$uid\",\"metadataName\":\"shop\",\"uid\":\"$uid\",
    \"namespace\":\"default\"}" >/dev/null
trap remove_all EXIT
trap 'exit 130' INT TERM HUP
# CreateContainer
web=$(create ctr "{$of,\"containerName\":\"k8s_web_shop_$uid\",\"metadataName\":\"web\",\"attempt\":1}")
log=$(create ctr "{$of,\"containerName\":\"k8s_log_shop_$uid\",\"metadataName\":\"log\",\"netNsCtr\":\"$pod\"}")
for id in "$pod" "$web" "$log"; do
    cat "ctr/$id/metadata" && echo                          # GetContainerMetadata
    echo 1 >"ctr/$id/mounted" || refused "start $id"        # StartContainer
    [ -n "$(ls "ctr/$id/rootfs")" ] && echo run >"ctr/$id/rootfs/run.log" || die "$id has no files"
done
! rmdir "pod/$pod" 2>/dev/null || die "the sandbox went before its containers"
for id in "$web" "$log" "$pod"; do echo 0 >"ctr/$id/mounted" || refused "stop $id"; done # StopContainer
for id in "$web" "$log"; do rmdir "ctr/$id" || refused "$id"; done                       # DeleteContainer
trap - EXIT
rmdir "pod/$pod" || refused "$pod"                                                       # RemovePodSandbox
[ ! -e "ctr/$pod" ] && [ ! -e "name/$name" ] || die "something of $pod is left"
