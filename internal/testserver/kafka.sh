#!/usr/bin/env bash
# Runs a real single-node Apache Kafka (KRaft) without Docker, from Maven Central.
#   kafka.sh fetch            download the jars once into $KAFKA_LIBS/VERSION
#   kafka.sh start            format storage if needed, start, wait until it answers
#   kafka.sh topic NAME [P]   create a topic with P partitions (default 6)
#   kafka.sh perf NAME [N]    produce N records of 200 bytes, acks=all, idempotent
#   kafka.sh stop | clean
# Needs bash, java 17 and mvn 3.8. Listens on loopback only.
set -euo pipefail

KAFKA_DIR=${KAFKA_DIR:-$PWD/.kafka}
KAFKA_LIBS=${KAFKA_LIBS:-$KAFKA_DIR/lib}
KAFKA_PORT=${KAFKA_PORT:-19092}
CONTROLLER_PORT=${CONTROLLER_PORT:-19093}
KAFKA_ADVERTISED=${KAFKA_ADVERTISED:-}                    # PORT:OTHER ...: listens on PORT too, and says there that it is at OTHER
KAFKA_VERSIONS=${KAFKA_VERSIONS:-"4.1.1 4.0.0 3.9.1"}     # the first that resolves is used
KAFKA_HEAP=${KAFKA_HEAP:-"-Xms256m -Xmx512m"}
# C1 only starts faster; for a throughput comparison set KAFKA_JVM="-XX:+UseG1GC".
KAFKA_JVM=${KAFKA_JVM:-"-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto -Djava.awt.headless=true"}
mkdir -p "$KAFKA_DIR" "$KAFKA_LIBS"

say() { echo "kafka: $*" >&2; }
die() { say "$*"; exit 1; }

pom() { # VERSION
  local log
  case $1 in
    3.*) log='<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-reload4j</artifactId><version>1.7.36</version></dependency>' ;;
    *)   log='<dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.24.3</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId><version>2.24.3</version></dependency>' ;;
  esac
  cat <<X
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>kafka-local</artifactId><version>1</version>
  <dependencies>
    <!-- the server: kafka.Kafka, kafka.tools.StorageTool; brings kafka-server, -metadata, -raft, -storage, -group-coordinator, scala -->
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$1</version></dependency>
    <!-- TopicCommand, ProducerPerformance, ConsumerGroupCommand; without Connect and its web server (only ConnectPluginPath needs it) -->
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$1</version>
      <exclusions><exclusion><groupId>org.apache.kafka</groupId><artifactId>connect-runtime</artifactId></exclusion></exclusions>
    </dependency>
    $log
  </dependencies>
</project>
X
}

fetch() {
  local v dir
  for v in $KAFKA_VERSIONS; do
    dir=$KAFKA_LIBS/$v
    if [ -f "$dir/.complete" ]; then echo "$v" > "$KAFKA_DIR/version"; return; fi
    mkdir -p "$dir"
    pom "$v" > "$KAFKA_DIR/pom-$v.xml"
    if mvn -B -q -f "$KAFKA_DIR/pom-$v.xml" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$dir"; then
      touch "$dir/.complete"; echo "$v" > "$KAFKA_DIR/version"; say "version $v, $(find "$dir" -name '*.jar' | wc -l) jars"; return
    fi
    say "version $v not to be had, trying the next"
  done
  die "no version of Kafka could be fetched"
}

cp_() { echo "$KAFKA_LIBS/$(cat "$KAFKA_DIR/version")/*"; }
logopts() { # quiet logging for both loggers; a missing one is ignored
  echo "-Dlog4j.configuration=file:$KAFKA_DIR/log4j.properties -Dlog4j2.configurationFile=$KAFKA_DIR/log4j2.properties -Dkafka.logs.dir=$KAFKA_DIR"
}
# shellcheck disable=SC2046,SC2086
jrun() { java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 $(logopts) -cp "$(cp_)" "$@"; }

firstclass() { # ARGS -- CLASS...: the first class that runs with ARGS
  local args=() c
  while [ "$1" != -- ]; do args+=("$1"); shift; done; shift
  for c in "$@"; do if jrun "$c" "${args[@]}" > "$KAFKA_DIR/probe.out" 2> "$KAFKA_DIR/probe.err"; then echo "$c"; return; fi; done
  cat "$KAFKA_DIR/probe.err" >&2; return 1
}

config() {
  local pair listeners='' advertised='' protocols=''
  for pair in $KAFKA_ADVERTISED; do
    listeners+=",VIA${pair%:*}://127.0.0.1:${pair%:*}"
    advertised+=",VIA${pair%:*}://127.0.0.1:${pair#*:}"
    protocols+=",VIA${pair%:*}:PLAINTEXT"
  done
  cat > "$KAFKA_DIR/log4j.properties" <<'X'
log4j.rootLogger=WARN, out
log4j.logger.kafka.server.KafkaRaftServer=INFO
log4j.logger.org.apache.kafka.common.utils.AppInfoParser=INFO
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=[%d] %p %m (%c)%n
X
  cat > "$KAFKA_DIR/log4j2.properties" <<'X'
rootLogger.level=WARN
rootLogger.appenderRef.out.ref=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=[%d] %p %m (%c)%n
X
  cat > "$KAFKA_DIR/server.properties" <<X
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$CONTROLLER_PORT
listeners=PLAINTEXT://127.0.0.1:$KAFKA_PORT,CONTROLLER://127.0.0.1:$CONTROLLER_PORT$listeners
advertised.listeners=PLAINTEXT://127.0.0.1:$KAFKA_PORT$advertised
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT$protocols
log.dirs=$KAFKA_DIR/data
num.partitions=6
default.replication.factor=1
min.insync.replicas=1
auto.create.topics.enable=false
# one replica of everything internal, one partition (50 is the default and slows the first join)
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
# tests: no 3 s wait for the first group member, short sessions allowed
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# small memory: the cleaner's map alone is 128 MB of heap by default (must stay over 1 MB a thread)
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=4194304
num.network.threads=2
num.io.threads=4
log.segment.bytes=67108864
# log.flush.interval.messages=1   # fsync every batch: compare with durable embedded stores
X
}

up() { (exec 3<> "/dev/tcp/127.0.0.1/$KAFKA_PORT") 2> /dev/null; }
alive() { [ -f "$KAFKA_DIR/pid" ] && kill -0 "$(cat "$KAFKA_DIR/pid")" 2> /dev/null; }

start() {
  [ -f "$KAFKA_DIR/version" ] || fetch
  if alive; then say "already running"; return; fi
  config
  local storage server id i
  if [ ! -f "$KAFKA_DIR/data/meta.properties" ]; then
    storage=$(firstclass random-uuid -- kafka.tools.StorageTool org.apache.kafka.tools.StorageTool org.apache.kafka.server.StorageTool) || die "no StorageTool"
    id=$(grep -Eo '^[A-Za-z0-9_-]{22}$' "$KAFKA_DIR/probe.out" | head -1)
    jrun "$storage" format --cluster-id "$id" --config "$KAFKA_DIR/server.properties" --ignore-formatted \
      || jrun "$storage" format -t "$id" -c "$KAFKA_DIR/server.properties" --standalone || die "format failed"
  fi
  server=$(firstclass --version -- kafka.Kafka org.apache.kafka.server.Kafka) || server=kafka.Kafka
  # shellcheck disable=SC2046,SC2086
  nohup java $KAFKA_HEAP $KAFKA_JVM $(logopts) -cp "$(cp_)" "$server" "$KAFKA_DIR/server.properties" > "$KAFKA_DIR/server.log" 2>&1 &
  echo $! > "$KAFKA_DIR/pid"
  for i in $(seq 1 300); do
    if up; then say "ready on 127.0.0.1:$KAFKA_PORT after $((i / 10)).$((i % 10)) s"; return; fi
    alive || { tail -30 "$KAFKA_DIR/server.log" >&2; die "the broker stopped"; }
    sleep 0.1
  done
  tail -30 "$KAFKA_DIR/server.log" >&2; die "not ready after 30 s"
}

stop() {
  alive || { say "not running"; return 0; }
  local p; p=$(cat "$KAFKA_DIR/pid")
  kill -TERM "$p"
  for _ in $(seq 1 150); do kill -0 "$p" 2> /dev/null || { rm -f "$KAFKA_DIR/pid"; say "stopped"; return; }; sleep 0.1; done
  kill -KILL "$p"; rm -f "$KAFKA_DIR/pid"
}

topic() {
  local c
  for c in org.apache.kafka.tools.TopicCommand kafka.admin.TopicCommand; do
    if jrun "$c" --bootstrap-server "127.0.0.1:$KAFKA_PORT" --create --if-not-exists --topic "$1" --partitions "${2:-6}" --replication-factor 1; then return; fi
  done
  die "topic not created"
}

perf() {
  local p="bootstrap.servers=127.0.0.1:$KAFKA_PORT acks=all enable.idempotence=true linger.ms=1"
  # --producer-props is deprecated from 4.2 for --command-property (KIP-1147)
  # shellcheck disable=SC2086
  jrun org.apache.kafka.tools.ProducerPerformance --topic "$1" --num-records "${2:-500000}" --record-size 200 --throughput -1 --producer-props $p \
    || jrun org.apache.kafka.tools.ProducerPerformance --topic "$1" --num-records "${2:-500000}" --record-size 200 --throughput -1 --command-property $p
}

clean() { stop; rm -rf "$KAFKA_DIR/data" "$KAFKA_DIR/server.log"; }

case ${1:-} in
  fetch | start | stop | clean) "$1" ;;
  topic | perf) c=$1; shift; [ $# -ge 1 ] || die "usage: $c NAME [N]"; "$c" "$@" ;;
  *) sed -n '3,11s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
