#!/usr/bin/env bash
# Lets schemathesis, a property-based tester from PyPI, look for answers that are not what the schema says, and for failures.
. "$(dirname "$0")/server.sh"
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==${SCHEMATHESIS:-4.32.5}"

export API=$api WHO='{"username":"tester","password":"correct horse battery"}' SCHEMATHESIS_HOOKS=sessions
config=$PWD/internal/schemacheck/schemathesis.toml
export PYTHONPATH=$PWD/internal/schemacheck PYTHONDONTWRITEBYTECODE=1
curl -fsS -H "Content-Type: application/json" -d "$WHO" "$api/users/" -o "$dir/user"
"$dir/server" staff tester

cd "$dir" # it leaves files where it runs
"$dir/venv/bin/st" --config-file "$config" run "$api/schema/" --max-examples "${EXAMPLES:-20}" \
  --continue-on-failure --request-timeout 15 --no-color --seed "${SEED:-1}"
! grep -E 'level=ERROR|panic' "$dir/log"
