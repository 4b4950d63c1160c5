#!/bin/sh
# sh tests/all.sh PYTHON: every test, in three parts of which two go side by side. The unit tests need one core and no
# clock; three minutes of people coming and going and twenty seconds of broken input for each parser are mostly waiting
# or one core's work. What listens to devices and looks at pages has the machine to itself afterwards.
set -u
python=$1
log=$(mktemp)
trap 'rm -f "$log"' EXIT

(
  $python -m pytest tests/integration/test_soak.py; soak=$?
  FUZZ_SECONDS=20 FUZZ_SEED=1 $python -m pytest tests/fuzz; fuzz=$?
  exit $((soak > fuzz ? soak : fuzz))
) >"$log" 2>&1 &
beside=$!
$python -m pytest tests/unit; unit=$?
wait $beside; long=$?
cat "$log"
$python -m pytest --ignore=tests/unit --ignore=tests/fuzz --ignore=tests/integration/test_soak.py; rest=$?

for result in $unit $long $rest; do
  [ "$result" -eq 0 ] || exit "$result"
done
