# Starts the bundled server on a data file of its own, for the scripts beside this one. It ends with the script that sources
# this. Afterwards $api is the address of the API and $dir a folder that goes with the server.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
dir=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill "$server"; wait "$server" || true; }; rm -rf "$dir"' EXIT

go build -o "$dir/server" ./examples/server
export KHODNEVIS_ADDR=127.0.0.1:${PORT:-18473} KHODNEVIS_DATA=$dir/data.db KHODNEVIS_LIMITS=off
unset KHODNEVIS_POSTGRES KHODNEVIS_KAFKA KHODNEVIS_REDIS KHODNEVIS_ROLE
"$dir/server" 2>"$dir/log" &
server=$!
for _ in $(seq 50); do
  curl -fsS -o "$dir/ready" "http://$KHODNEVIS_ADDR/readyz" 2>/dev/null && break
  kill -0 "$server" || { cat "$dir/log"; exit 1; }
  sleep 0.2
done
api=http://$KHODNEVIS_ADDR/api
