#!/usr/bin/env bash
# A search as a job of a CI system: it goes on where an earlier job was stopped, keeps what people
# look at, and ends with dotrain's exit code.
#
#   ci.sh search.yaml --require 'val_accuracy>=0.85' --require 'trials.failed==0'
#
# Keep $OUT/runs from one job to the next (a cache whose key is the commit), and publish $OUT:
# junit.xml, result.json, report.html.
set -uo pipefail
config=${1:?usage: ci.sh CONFIG [OPTION...]}
shift
out=${OUT:-artifacts}
mkdir -p "$out"

last_run() { ls -td "$out"/runs/*/*/ 2> /dev/null | head -n 1; }

# Whether the run was broken off; one that has ended is left alone. "running" is a job that died on
# another machine: if it should live after all, resume refuses.
stopped() {
    [ -n "$1" ] &&
        dotrain status "$1" --json | grep -qE '^  "status": "(interrupted|crashed|running)"'
}

last=$(last_run)
if stopped "$last"; then
    dotrain resume "$last" --json --junit "$out/junit.xml" "$@" > "$out/result.json"
else
    dotrain run "$config" --runs-dir "$out/runs" --json --junit "$out/junit.xml" "$@" \
        > "$out/result.json"
fi
code=$?

case $code in
    0) say="done; every gate is met" ;;
    1) say="no usable result: see junit.xml" ;;
    2) say="a mistake in the call or the config; nothing was trained" ;;
    3) say="the workers can't be had: try again later" ;;
    4) say="a gate was missed: see the lines above, junit.xml and report.html" ;;
    130) say="interrupted: the next job goes on with it" ;;
    *) say="ended with $code, perhaps killed: the next job goes on with it" ;;
esac
echo "ci.sh: $say" >&2

last=$(last_run)
if [ -n "$last" ] && [ $code -ne 2 ]; then
    dotrain report "$last" -o "$out/report.html" > /dev/null
fi
exit $code
