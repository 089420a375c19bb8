#!/usr/bin/env bash
# What the tests need beyond Python: a PACS, text recognition, an OCI registry, a browser, WeasyPrint's Pango, and
# npm for the workbench's viewer. Does nothing where they are installed.
set -euo pipefail

plugin=/usr/share/orthanc/plugins/libOrthancDicomWeb.so
packages=()
PATH="$PATH:/usr/sbin"
command -v Orthanc >/dev/null || packages+=(orthanc)
[ -e "$plugin" ] || packages+=(orthanc-dicomweb)
command -v tesseract >/dev/null || packages+=(tesseract-ocr)
command -v chromium >/dev/null || packages+=(chromium)
ldconfig -p | grep libpangoft2-1.0.so.0 >/dev/null || packages+=(libpango-1.0-0 libpangoft2-1.0-0)
command -v npm >/dev/null || packages+=(npm)
command -v docker-registry >/dev/null || packages+=(docker-registry)
[ ${#packages[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "Install these by hand, this system has no apt-get: ${packages[*]}" >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! { command -v sudo && sudo -n true; } >/dev/null 2>&1; then
    echo "Run as root: apt-get install --no-install-recommends ${packages[*]}" >&2
    exit 1
  fi
  as_root=(sudo -n)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "${packages[@]}"
}
# Where no init runs, Orthanc's service is not started; that fails nothing, and the tests start their own.
if ! { install || { "${as_root[@]}" apt-get -q update && install; }; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "Could not install: ${packages[*]}" >&2
  exit 1
fi
