//! How clients of Kafka are set.

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, ClientContext};

use super::Kafka;

/// Bytes of the largest record: a fact is at most as large as a message between services.
const RECORD_BYTES_MAX: &str = "33554432";

/// Whoever uses a client says by itself what has failed, once; what the library says of each connection is for those
/// who look for it.
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(target: "librdkafka", "{facility}: {text}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", "{error}: {reason}");
    }
}

impl ConsumerContext for Quiet {}

impl Kafka {
    pub(super) fn client(&self, name: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", name)
            // A broker that is back is found within a second.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("message.max.bytes", RECORD_BYTES_MAX);
        config
    }

    /// Keeps the order of what it is given, without a gap, for as long as it takes.
    pub(super) fn producer(&self, name: &str) -> ClientConfig {
        let mut config = self.client(name);
        config
            .set("enable.idempotence", "true")
            // A record that cannot be written stops it: what comes after must not pass.
            .set("enable.gapless.guarantee", "true")
            .set("acks", "all")
            .set("max.in.flight.requests.per.connection", "5")
            // By default a record is given up after 5 minutes, and later ones pass.
            .set("message.timeout.ms", "0")
            // As Java's clients place keys, so that others find a stream where they look for it.
            .set("partitioner", "murmur2_random")
            .set("compression.type", "lz4")
            .set("linger.ms", "1")
            .set("queue.buffering.max.kbytes", "65536")
            .set("queue.buffering.max.messages", "16384");
        config
    }

    /// Reads what it is assigned. It belongs to no group that Kafka knows of: cursors are kept with the effects.
    pub(super) fn consumer(&self, name: &str) -> ClientConfig {
        let mut config = self.client(name);
        config
            // Asked for by the library, which commits nothing to it.
            .set("group.id", name)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("allow.auto.create.topics", "false")
            // What is assigned anew waits for the request that is under way.
            .set("fetch.wait.max.ms", "100")
            .set("fetch.queue.backoff.ms", "50")
            .set("fetch.error.backoff.ms", "100")
            // What is read ahead for a reader that is slow.
            .set("queued.min.messages", "1000")
            .set("queued.max.messages.kbytes", "4096")
            .set("fetch.max.bytes", RECORD_BYTES_MAX)
            .set("receive.message.max.bytes", "67108864");
        config
    }
}
