#!/usr/bin/env bash
# Runs a command with real PostgreSQL, Redis and Kafka servers for the tests, and says in one line for each what it uses.
#
#   with-servers.sh COMMAND [ARG...]
#
# A server is, in this order: the one that KHODNEVIS_TEST_POSTGRES, KHODNEVIS_TEST_REDIS or KHODNEVIS_TEST_KAFKA names; one of
# docker-compose.yml, if a Docker engine runs; one started from installed programs; the same after installing them, as root
# on Debian; for Kafka, one started from Maven Central with Java 17. Servers that it started are stopped at the end; their data
# is in a temporary folder. What cannot be had is left out; the tests say what stands in for it, or fail if
# KHODNEVIS_TEST_REQUIRE names it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/khodnevis-test.XXXXXX")
chmod 755 "$work"
stops=()

say() { echo "test servers: $*" >&2; }
finish() {
  local i
  for ((i = ${#stops[@]} - 1; i >= 0; i--)); do eval "${stops[i]}" > /dev/null 2>&1 || true; done
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

free_port() { python3 - << 'P' 2> /dev/null || echo $((20000 + RANDOM % 20000)); }
import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])
P

updated=
install_packages() { # PACKAGE...: 0 if they are installed afterwards
  [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null || return 1
  if [ -z "$updated" ]; then apt-get update -qq > "$work/apt.log" 2>&1 || return 1; updated=1; fi
  # Debian would start a cluster of its own at once; the tests bring theirs.
  mkdir -p /etc/postgresql-common
  [ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "$@" >> "$work/apt.log" 2>&1
}

docker_engine() { command -v docker > /dev/null && docker compose version > /dev/null 2>&1 && docker info > /dev/null 2>&1; }

# as_user runs a command as somebody who is not root, because PostgreSQL refuses to be.
as_user() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"; else "$@"; fi; }

postgres_bin() { find /usr/lib/postgresql /usr/local/pgsql -maxdepth 3 -name initdb -type f 2> /dev/null | sort -V | tail -n 1 | xargs -r dirname || true; }

postgres() {
  if [ -n "${KHODNEVIS_TEST_POSTGRES:-}" ]; then say "PostgreSQL: the one that KHODNEVIS_TEST_POSTGRES names"; return; fi
  local bin port
  bin=$(postgres_bin)
  if [ -z "$bin" ] && install_packages postgresql; then bin=$(postgres_bin); fi
  if [ -z "$bin" ]; then say "PostgreSQL: none to be had; its tests are skipped"; return; fi
  port=$(free_port)
  mkdir "$work/pg"
  [ "$(id -u)" != 0 ] || chown postgres "$work/pg"
  as_user "$bin/initdb" -D "$work/pg/data" -U khodnevis --auth=trust --encoding=UTF8 --locale=C > "$work/initdb.log" 2>&1 || { cat "$work/initdb.log" >&2; return 1; }
  as_user "$bin/pg_ctl" -D "$work/pg/data" -l "$work/pg/log" -w -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c shared_buffers=256MB -c max_connections=300 -c max_wal_size=4GB -c deadlock_timeout=200ms" start > "$work/pg_ctl.log" 2>&1 || { cat "$work/pg/log" >&2; return 1; }
  stops+=("as_user $bin/pg_ctl -D $work/pg/data -m immediate stop")
  export KHODNEVIS_TEST_POSTGRES="postgres://khodnevis@127.0.0.1:$port/postgres?sslmode=disable"
  say "PostgreSQL: $("$bin/postgres" --version | sed 's/.*) //'), started on port $port"
}

# The tests of poolers start PgBouncer themselves, and say so where there is none.
pooler() {
  if [ -x /usr/sbin/pgbouncer ] || command -v pgbouncer > /dev/null || install_packages pgbouncer; then return; fi
  say "PgBouncer: none to be had; its tests are skipped"
}

redis() {
  if [ -n "${KHODNEVIS_TEST_REDIS:-}" ]; then say "Redis: the one that KHODNEVIS_TEST_REDIS names"; return; fi
  local port
  command -v redis-server > /dev/null || install_packages redis-server || true
  if ! command -v redis-server > /dev/null; then say "Redis: none to be had; an in-process stand-in (miniredis) is used"; return; fi
  port=$(free_port)
  redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --daemonize yes --pidfile "$work/redis.pid" --dir "$work" > "$work/redis.log" 2>&1
  for _ in $(seq 1 100); do [ -s "$work/redis.pid" ] && break; sleep 0.05; done
  stops+=("kill \$(cat $work/redis.pid)")
  export KHODNEVIS_TEST_REDIS="127.0.0.1:$port"
  say "Redis: $(redis-server --version | sed 's/.*v=\([^ ]*\).*/\1/'), started on port $port"
}

kafka() {
  if [ -n "${KHODNEVIS_TEST_KAFKA:-}" ]; then say "Kafka: the one that KHODNEVIS_TEST_KAFKA names"; return; fi
  if ! command -v java > /dev/null || ! command -v mvn > /dev/null; then install_packages openjdk-17-jre-headless maven || true; fi
  if ! command -v java > /dev/null || ! command -v mvn > /dev/null; then say "Kafka: neither Java nor Maven to be had; an in-process stand-in (kfake) is used"; return; fi
  export KAFKA_LIBS=${KAFKA_LIBS:-${XDG_CACHE_HOME:-$HOME/.cache}/khodnevis-kafka}
  KAFKA_PORT=$(free_port) CONTROLLER_PORT=$(free_port)
  export KAFKA_PORT CONTROLLER_PORT KAFKA_DIR="$work/kafka"
  if ! bash "$here/kafka.sh" fetch > "$work/kafka.log" 2>&1 || ! bash "$here/kafka.sh" start >> "$work/kafka.log" 2>&1; then
    tail -n 5 "$work/kafka.log" >&2
    say "Kafka: none to be had; an in-process stand-in (kfake) is used"
    return
  fi
  stops+=("KAFKA_DIR=$KAFKA_DIR KAFKA_PORT=$KAFKA_PORT bash $here/kafka.sh stop")
  export KHODNEVIS_TEST_KAFKA="127.0.0.1:$KAFKA_PORT"
  say "Kafka: $(cat "$KAFKA_DIR/version"), started on port $KAFKA_PORT"
}

compose() {
  docker_engine || return 1
  local compose="docker compose -p khodnevis-test-$$ -f $root/docker-compose.yml -f $here/compose.ports.yml"
  KHODNEVIS_POSTGRES_PORT=$(free_port) KHODNEVIS_REDIS_PORT=$(free_port) KHODNEVIS_KAFKA_PORT=$(free_port)
  export KHODNEVIS_POSTGRES_PORT KHODNEVIS_REDIS_PORT KHODNEVIS_KAFKA_PORT
  stops+=("$compose down -v")
  if ! $compose up -d --wait postgres redis kafka > "$work/compose.log" 2>&1; then
    tail -n 20 "$work/compose.log" >&2
    say "the containers of docker-compose.yml did not start"
    return 1
  fi
  export KHODNEVIS_TEST_POSTGRES="postgres://khodnevis@127.0.0.1:$KHODNEVIS_POSTGRES_PORT/khodnevis?sslmode=disable"
  export KHODNEVIS_TEST_REDIS="127.0.0.1:$KHODNEVIS_REDIS_PORT"
  export KHODNEVIS_TEST_KAFKA="127.0.0.1:$KHODNEVIS_KAFKA_PORT"
  say "PostgreSQL, Redis, Kafka: containers of docker-compose.yml"
}

if [ -n "${KHODNEVIS_TEST_POSTGRES:-}${KHODNEVIS_TEST_REDIS:-}${KHODNEVIS_TEST_KAFKA:-}" ] || ! compose; then
  postgres
  redis
  kafka
fi
pooler
cd "$root"
"$@"
