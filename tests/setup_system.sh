#!/bin/sh
# Installs what the tests need from outside Python: Chromium, PulseAudio, PortAudio, ffprobe, Janus, PostgreSQL and a
# recording of a real voice. Debian and Ubuntu as root only; elsewhere it says what is missing, and the tests that need it say so too.
# Quick and silent when all is there.
set -eu

missing=""
have() { command -v "$1" >/dev/null 2>&1; }
need() { missing="$missing $*"; }

have chromium || have chromium-browser || have google-chrome || need chromium
have pulseaudio && have pactl && have paplay || need pulseaudio pulseaudio-utils
have ffprobe || need ffmpeg
have janus || need janus
postgres=""
for file in /usr/lib/postgresql/*/bin/initdb; do
  [ ! -e "$file" ] || postgres=$file
done
have initdb || [ -n "$postgres" ] || need postgresql
[ -d /usr/share/pocketsphinx/test/data/librivox ] || need pocketsphinx-testdata
if [ "$(uname -s)" = Linux ]; then
  libraries=$( (ldconfig -p || /sbin/ldconfig -p) 2>/dev/null || true)
  case "$libraries" in *libportaudio.so.2*) ;; *) need libportaudio2 ;; esac
  # ALSA's way to PulseAudio, which PortAudio takes
  plugin=""
  for file in /usr/lib/*/alsa-lib/libasound_module_pcm_pulse.so /usr/lib*/alsa-lib/libasound_module_pcm_pulse.so; do
    [ ! -e "$file" ] || plugin=$file
  done
  [ -n "$plugin" ] || need libasound2-plugins
fi

[ -n "$missing" ] || exit 0

if have apt-get && [ "$(id -u)" = 0 ]; then
  echo "Installing for the tests:$missing"
  export DEBIAN_FRONTEND=noninteractive
  log=$(mktemp)
  get() { apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@" >"$log" 2>&1; }
  install() {
    case "$missing" in
      *postgresql*)
        # The tests start a server of their own: Debian's package is not to make one that starts with the machine.
        get postgresql-common || return 1
        drop=/etc/postgresql-common/createcluster.d
        mkdir -p "$drop" && echo "create_main_cluster = false" >"$drop/vultus-tests.conf"
        ;;
    esac
    get $missing && failed=0 || failed=1
    rm -f /etc/postgresql-common/createcluster.d/vultus-tests.conf
    return $failed
  }
  # The package lists may be missing or old: they are fetched only if it does not work without.
  if install || { apt-get -qq -o DPkg::Lock::Timeout=300 update >"$log" 2>&1 && install; }; then
    rm -f "$log"
    exit 0
  fi
  tail -n 5 "$log" >&2
  rm -f "$log"
  echo "Could not install:$missing. The tests that need them are left out." >&2
  exit 0
fi

echo "Left out, because they are not installed:$missing. The tests that need them are skipped." >&2
if have apt-get; then
  echo "To run them all: sudo apt-get install --no-install-recommends$missing" >&2
fi
