#!/bin/sh
# sh tests/all.sh PYTHON: every test. The unit tests need one core and no clock; three minutes of people coming and going,
# and twenty seconds of broken input for each parser, which gives way to all else, go beside them on the other. What
# listens to devices and looks at pages comes after the unit tests.
set -u
python=$1
soaked=$(mktemp) fuzzed=$(mktemp)
trap 'rm -f "$soaked" "$fuzzed"' EXIT

$python -m pytest tests/integration/test_soak.py >"$soaked" 2>&1 &
soak=$!
FUZZ_SECONDS=20 FUZZ_SEED=1 nice -n 19 $python -m pytest tests/fuzz >"$fuzzed" 2>&1 &
fuzz=$!
$python -m pytest tests/unit
unit=$?
wait $soak
soak=$?
cat "$soaked"
$python -m pytest --ignore=tests/unit --ignore=tests/fuzz --ignore=tests/integration/test_soak.py
rest=$?
wait $fuzz
fuzz=$?
cat "$fuzzed"

for result in $unit $soak $fuzz $rest; do
  [ "$result" -eq 0 ] || exit "$result"
done
