#!/bin/bash
# The part of the apache/kafka image's start that its users rely on: every KAFKA_A_B becomes the setting a.b (three
# underscores a dash, two an underscore), CLUSTER_ID names the cluster, KAFKA_HEAP_OPTS goes to Java.
set -euo pipefail

properties=/opt/kafka/config/server.properties
: > "$properties"
while IFS='=' read -r -d '' name value; do
    case $name in
        KAFKA_HEAP_OPTS | KAFKA_OPTS | KAFKA_JVM_PERFORMANCE_OPTS) continue ;;
        KAFKA_*) ;;
        *) continue ;;
    esac
    name=$(printf '%s' "${name#KAFKA_}" | tr '[:upper:]' '[:lower:]')
    setting=$(printf '%s' "$name" | sed 's/___/-/g; s/__/\x01/g; s/_/./g; s/\x01/_/g')
    printf '%s=%s\n' "$setting" "$value" >> "$properties"
done < <(env -0)
if [ ! -s "$properties" ]; then
    # Without any KAFKA_ variable the image runs one node for clients on its own machine.
    cat > "$properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:9093
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
advertised.listeners=PLAINTEXT://localhost:9092
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
log.dirs=/var/lib/kafka/data
END
fi

classes="/opt/kafka/libs/*"
java -cp "$classes" kafka.tools.StorageTool format --ignore-formatted \
    -t "${CLUSTER_ID:-5L6g3nShT-eMCtK--X86sw}" -c "$properties"
# shellcheck disable=SC2086 # options are meant to be split
exec java ${KAFKA_HEAP_OPTS:--Xmx1G} -XX:+UseSerialGC -cp "$classes" kafka.Kafka "$properties"
