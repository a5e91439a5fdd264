#!/usr/bin/env bash
# Lets schemathesis, a property-based tester from PyPI, look for answers that are not what the schema says, and for failures.
# What valid data may be refused for depends on what is stored (a content that is not there, a name that is taken), which a
# schema cannot say: TestSchemaProperties knows those codes, so that check is left to it.
. "$(dirname "$0")/server.sh"
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==${SCHEMATHESIS:-4.32.5}"

export API=$api WHO='{"username":"tester","password":"correct horse battery"}' SCHEMATHESIS_HOOKS=sessions PYTHONPATH=$PWD/internal/schemacheck PYTHONDONTWRITEBYTECODE=1
curl -fsS -H "Content-Type: application/json" -d "$WHO" "$api/users/" -o "$dir/user"
"$dir/server" staff tester

cd "$dir" # it leaves files where it runs
"$dir/venv/bin/st" run "$api/schema/" --max-examples "${EXAMPLES:-20}" --checks all --exclude-checks positive_data_acceptance \
  --continue-on-failure --request-timeout 15 --no-color --seed "${SEED:-1}"
! grep -E 'level=ERROR|panic' "$dir/log"
