#!/usr/bin/env bash
# Train for a number of seconds on a machine with a GPU, and bring back checkpoint and log.
#
#   train/gpu.sh RECIPE SECONDS PHOTOS OUT [OPTIONS OF train/go.py]
#
# RECIPE is a name like clit (train/clit.toml). HOST=name trains there over ssh; without it, here.
# OUT/model.pth is the checkpoint; what OUT already holds of the run goes on. On a machine without a
# GPU it rehearses: train/gpu.sh clit 60 PHOTOS OUT --device cpu --precision auto --batch 2
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
recipe=$1 seconds=$2 photos=$3 out=$4
shift 4
python=${PYTHON:-python3}
pack=$(mktemp -d)
trap 'rm -rf "$pack"' EXIT
mkdir -p "$out"
PYTHONPATH=$root "$python" -m train.pack "$pack" "$root/train/$recipe.toml" --data "$photos"
if [ -z "${HOST:-}" ]; then
    "$python" "$pack/go.py" "$recipe" "$seconds" "$out" "$@"
    exit
fi
there=$(ssh "$HOST" 'mktemp -d')
tar -C "$pack" -c . | ssh "$HOST" "tar -C $there -x"
[ ! -f "$out/state.pt" ] || { ssh "$HOST" "mkdir $there/out" && scp -q "$out/state.pt" "$HOST:$there/out/"; }
status=0
ssh "$HOST" "python3 $there/go.py $recipe $seconds $there/out $*" || status=$?
# Whatever the run has kept is brought back, also where it failed.
ssh "$HOST" "tar -C $there/out -c ." | tar -C "$out" -x
ssh "$HOST" "rm -rf $there"
exit "$status"
