#!/usr/bin/env bash
# Runs a command with a browser for the tests that drive one, and says which.
#
#   with-browser.sh COMMAND [ARG...]
#
# The browser is, in this order: the one that KHODNEVIS_TEST_BROWSER names; an installed Chromium or Chrome; Chromium after
# installing it, as root on Debian. Without any, it says how to get one and fails.
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { echo "test browser: $*" >&2; }

installed() {
  local name
  for name in chromium chromium-browser google-chrome google-chrome-stable chrome headless-shell; do
    command -v "$name" && return
  done
  return 1
}

install_package() {
  [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null || return 1
  say "installing Debian's chromium"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } > /dev/null 2>&1
}

if [ -z "${KHODNEVIS_TEST_BROWSER:-}" ]; then
  KHODNEVIS_TEST_BROWSER=$(installed) || { install_package && KHODNEVIS_TEST_BROWSER=$(installed); } || {
    say "none to be had. Install one, on Debian: apt-get install chromium. Or name one: KHODNEVIS_TEST_BROWSER=/path/to/chrome make browser"
    exit 1
  }
fi
export KHODNEVIS_TEST_BROWSER
say "$("$KHODNEVIS_TEST_BROWSER" --version 2> /dev/null || echo "$KHODNEVIS_TEST_BROWSER")"
"$@"
