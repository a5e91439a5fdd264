#!/usr/bin/env bash
# Lets schemathesis, a property-based tester from PyPI, look for answers that are not what the schema says, and for failures.
# What valid data may be refused for depends on what is stored (a content that is not there, a name that is taken), which a
# schema cannot say: TestSchemaProperties knows those codes, so that check is left to it.
. "$(dirname "$0")/server.sh"
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==${SCHEMATHESIS:-4.32.5}"

json=(-H "Content-Type: application/json")
who='{"username":"tester","password":"correct horse battery"}'
curl -fsS "${json[@]}" -d "$who" "$api/users/" -o "$dir/user"
"$dir/server" staff tester
token=$(curl -fsS "${json[@]}" -d "$who" "$api/users/login/" | python3 -c 'import json, sys; print(json.load(sys.stdin)["access"])')

cd "$dir" # it leaves files where it runs
"$dir/venv/bin/st" run "$api/schema/" -H "Authorization: Bearer $token" --exclude-operation-id logout \
  --phases examples,coverage,fuzzing --max-examples "${EXAMPLES:-20}" --checks all --exclude-checks positive_data_acceptance \
  --continue-on-failure --request-timeout 15 --no-color --seed "${SEED:-1}"
! grep -E 'level=ERROR|panic' "$dir/log"
