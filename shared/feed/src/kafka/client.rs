//! How clients of Kafka are set.

use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, ClientContext};

use super::{Kafka, Security};

/// Bytes of the largest record: a fact is at most as large as a message between services.
const RECORD_BYTES_MAX: &str = "33554432";

/// Whoever uses a client says by itself what has failed, once; what the library says of each connection is for those
/// who look for it. Only that brokers and client do not trust each other is said here, once a client: all else that is
/// seen of it is that no answer comes.
#[derive(Default)]
pub(super) struct Quiet {
    is_refused: AtomicBool,
}

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(target: "librdkafka", "{facility}: {text}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        let is_refusal = matches!(code, Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL));
        if is_refusal && !self.is_refused.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "Kafka's brokers are not to be had with feed.kafka.user, tls and tls_ca as they are: {reason}"
            );
        }
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
        self.secure(&mut config);
        config
    }

    fn secure(&self, config: &mut ClientConfig) {
        let Security { tls, ca, user } = &self.security;
        let protocol = match (tls, user) {
            (false, None) => return,
            (true, None) => "ssl",
            (true, Some(_)) => "sasl_ssl",
            (false, Some(_)) => "sasl_plaintext",
        };
        config.set("security.protocol", protocol);
        if let Some(ca) = ca {
            config.set("ssl.ca.location", ca.display().to_string());
        }
        if let Some((user, password)) = user {
            config.set("sasl.mechanism", "SCRAM-SHA-512").set("sasl.username", user).set("sasl.password", password);
        }
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
