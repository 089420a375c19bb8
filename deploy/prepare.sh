#!/usr/bin/env bash
# Prepare a startup kit for Docker, Kubernetes or Slurm with FLARE's own `nvflare deploy prepare`, policies kept.
#
#   deploy/prepare.sh [--processes] KIT CONFIG OUTPUT
#
# KIT          startup kit of the server or of a site; it is not changed
# CONFIG       one of deploy/*/prepare-*.yaml; ${NAMES} in it are taken from the environment
# OUTPUT       folder for the prepared kit; must not exist
# --processes  only the participant itself is put into a container, and starts its jobs as processes there. Servers in
#              Docker and Kubernetes need it: a campaign's store must outlive the job that writes it.
set -euo pipefail
processes=false
[[ ${1:-} == --processes ]] && { processes=true; shift; }
[[ $# -eq 3 ]] || { sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2; }
kit=$1 config=$2 output=$3
[[ -f $kit/local/resources.json ]] || { echo "$kit: holds no local/resources.json; give a kit with radfed's policies" >&2; exit 2; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 700 "$work"
cp -a "$kit/." "$work/$(basename "$kit")"
copy=$work/$(basename "$kit")
# FLARE patches resources.json.default and deletes resources.json, which is where the policies are.
mv "$copy/local/resources.json" "$copy/local/resources.json.default"

python3 - "$config" > "$work/config.yaml" <<'PYTHON'
import os, re, sys
text = open(sys.argv[1], encoding="utf-8").read()
lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
missing = sorted({name for name in re.findall(r"\$\{(\w+)\}", "\n".join(lines)) if not os.environ.get(name)})
if missing:
    sys.exit(f"{sys.argv[1]}: set {', '.join(missing)} in the environment")
print(re.sub(r"\$\{(\w+)\}", lambda found: os.environ[found[1]], "\n".join(lines)))
PYTHON

nvflare deploy prepare "$copy" --config "$work/config.yaml" --output "$output"
mv "$output/local/resources.json.default" "$output/local/resources.json"
if $processes; then
  rm -r "$output/local"
  cp -a "$kit/local" "$output/local"
fi
echo "Prepared: $output"
