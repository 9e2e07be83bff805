#!/bin/sh
# One night on this machine, for any CI: ./ready sh night.sh
# Made by `osv-harness ci shell`. It ends with 0 only if all is as expected; night/ has everything, night/summary.md
# the summary, night/site/index.html the report. HISTORY is a file that is kept from night to night.
set -eu
export KERNEL="${KERNEL:-«kernel»}" SET="${SET:-«set»}" ARCH="${ARCH:-$(uname -m)}"
export GITHUB_OUTPUT=night/outputs GITHUB_STEP_SUMMARY=night/summary.md
history="${HISTORY:-history.jsonl}"
failed=0

%% set steps = ["plan", "build", "measure", "test", "merge", "confirm", "report", "summary"]
%% for name in steps + (["hunt"] if kernel == "osv" else [])
«name»=$(cat <<'STEP'
«step[name]»
STEP
)

%% endfor
# A step that fails is told at the end, and does not keep the others from running.
step() {
    echo "== $1" >&2
    sh -eu -c "$2" < /dev/null || failed=1
}

rm -rf night
mkdir -p night/in
sh -eu -c "$plan"
if [ -e "$history" ]; then
    osv-harness history import "$history" --history night/history.sqlite
    osv-harness history verdicts night/verdicts --history night/history.sqlite
fi
osv-harness ci plan night/matrix.json --lines builds > night/builds
while read -r BUILD CELLS <&3; do
    export BUILD CELLS
    step "build $BUILD" "$build"
    step "measure $BUILD" "$measure"
done 3< night/builds
osv-harness ci plan night/matrix.json --lines cells > night/cells
while read -r SLUG CELL <&3; do
    export SLUG CELL
    step "test $CELL" "$test"
done 3< night/cells
find night -maxdepth 1 \( -name 'plan-*' -o -name 'measured-*.jsonl' -o -name 'tested-*' \) \
    -exec cp {} night/in/ \;
step merge "$merge"
step confirm "$confirm"
%% if kernel == "osv"
step hunt "$hunt"
%% endif
step report "$report"
[ ! -e night/history.jsonl ] || cp night/history.jsonl "$history"
step summary "$summary"
cat night/summary.md
exit "$failed"
