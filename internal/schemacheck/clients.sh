#!/usr/bin/env bash
# Generates a Go and a TypeScript client from the schema of the bundled server, and compiles them.
. "$(dirname "$0")/server.sh"
curl -fsS "$api/schema/" -o "$dir/schema.json"

mkdir "$dir/go"
cd "$dir/go"
go mod init client 2>"$dir/mod"
go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -generate types,client -package client -o client.go "$dir/schema.json"
go mod tidy 2>"$dir/mod" || { cat "$dir/mod"; exit 1; }
go vet .
echo "Go: oapi-codegen's client compiles ($(wc -l <client.go) lines)."

if ! command -v npm >/dev/null; then
  echo "TypeScript: NOT TRIED, there is no npm here."
  exit 0
fi
mkdir "$dir/ts"
cd "$dir/ts"
echo '{"type": "module"}' >package.json
npm install --silent --no-audit --no-fund openapi-typescript@7.13.0 openapi-fetch@0.17.0 typescript@5.9.3
npx openapi-typescript "$dir/schema.json" -o schema.ts >"$dir/log-ts" || { cat "$dir/log-ts"; exit 1; }
cat >client.ts <<'TS'
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

const client = createClient<paths>({ baseUrl: "http://127.0.0.1/api" });
const { data, error } = await client.POST("/ratings/", { body: { content: "0198", score: 4 } });
if (error) console.log(error.code, error.errors?.map((e) => e.code));
else if ("task" in data) console.log(data.task, data.rating?.id);
const list = await client.GET("/contents/", { params: { query: { ordering: "-score", page_size: 5, fields: ["id", "score"] } } });
for (const film of list.data?.results ?? []) console.log(film.id, film.score?.toFixed(2));
TS
npx tsc --noEmit --strict --target es2022 --module nodenext --moduleResolution nodenext schema.ts client.ts
echo "TypeScript: openapi-typescript's types compile, and so does a client of them ($(wc -l <schema.ts) lines)."
