#!/usr/bin/env bash
# Runs the real client libraries, unchanged, against a server: openai and anthropic for Python, openai for Node.
# Prints one line a check (ok, skip with the reason, FAIL with the error) and ends with 1 if one failed.
#
#   run.sh BASE_URL KEY MODEL [EMBED_BASE]
#
# BASE_URL    without /v1, e.g. http://localhost:9000
# KEY         a bearer that is accepted; "-" for a server that asks for none, then a wrong key is no error
# EMBED_BASE  where /v1/embeddings is served, the same server or another; without it that check is skipped
#
# SERVER       fairlane (the default), or vllm: then what only fairlane does is skipped
# EMBED_MODEL  the model for embeddings; else the first that EMBED_BASE lists
# LIMITED_KEY  a key with a limit of a few requests a minute, for the checks of 429
# DAILY_KEY    a key with a limit of a few requests a day, for the check of a 429 that is not to be waited for
# CLIENTS_DIR  where the clients are installed and kept; else a temporary directory
set -euo pipefail

if (($# < 3)); then
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2
  exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export BASE_URL=${1%/} KEY=$2 MODEL=$3 EMBED_BASE=${4:-} SERVER=${SERVER:-fairlane}
dir=${CLIENTS_DIR:-}
if [[ -z $dir ]]; then
  dir=$(mktemp -d)
  trap 'rm -rf "$dir"' EXIT
fi

[[ -x $dir/venv/bin/python ]] || python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt"
mkdir -p "$dir/node"
cp "$here/package.json" "$here"/*.mjs "$dir/node/" # beside node_modules, where Node looks for them
npm install --prefix "$dir/node" --silent --no-audit --no-fund --no-package-lock

failed=0
export PYTHONDONTWRITEBYTECODE=1
"$dir/venv/bin/python" "$here/openai_checks.py" || failed=1
"$dir/venv/bin/python" "$here/anthropic_checks.py" || failed=1
node "$dir/node/openai_checks.mjs" || failed=1
exit "$failed"
