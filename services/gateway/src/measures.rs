//! What `/metrics` shows beside what this process counts by itself: what the services measure, and how far their
//! followers are behind.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use contracts::Peers;
use contracts::feed::consumer_service_client::ConsumerServiceClient;
use contracts::feed::{Consumer, ListConsumersRequest};
use contracts::health::health_service_client::HealthServiceClient;
use contracts::health::{Family, MeasureRequest, Sample};
use runtime::Stopwatch;
use tokio::sync::Mutex;

use crate::door::Service;

/// How long a service may take to say what it measures; what comes later is left out this time.
const MEASURE_TIMEOUT: Duration = Duration::from_secs(2);
/// So long an answer serves others who ask: the page is open to everybody, and asking must not be a load.
const FRESH: Duration = Duration::from_secs(1);
/// Events that a service's log has: what followers are compared with.
const APPENDED: &str = "trialog_events_appended_total";

/// What the services have said last, and when.
#[derive(Default)]
pub(crate) struct Measured(Mutex<Option<(Stopwatch, Arc<Vec<Family>>)>>);

impl Measured {
    /// What the services measure.
    pub(crate) async fn of(&self, peers: &Peers) -> Arc<Vec<Family>> {
        // Whoever asks meanwhile waits for the same answer.
        let mut last = self.0.lock().await;
        if let Some((_, families)) = last.as_ref().filter(|(watch, _)| watch.elapsed() < FRESH) {
            return Arc::clone(families);
        }
        let families = Arc::new(ask(peers).await);
        *last = Some((Stopwatch::start(), Arc::clone(&families)));
        families
    }
}

async fn ask(peers: &Peers) -> Vec<Family> {
    let answers = Service::ALL.map(|service| async move {
        let answer = tokio::time::timeout(MEASURE_TIMEOUT, ask_one(peers, service)).await;
        (service.name(), answer.ok().flatten())
    });
    let answers = futures_util::future::join_all(answers).await;
    let mut up = Family::gauge("trialog_service_up", "Whether a service has answered what it measures.");
    let (mut families, mut consumers) = (Vec::new(), Vec::new());
    for (service, answer) in answers {
        up = up.with(&[("service", service)], f64::from(u8::from(answer.is_some())));
        if let Some((measured, following)) = answer {
            families.extend(measured);
            consumers.extend(following);
        }
    }
    let lags = lags(&families, &consumers);
    families.extend(lags);
    families.push(up);
    merged(families)
}

async fn ask_one(peers: &Peers, service: Service) -> Option<(Vec<Family>, Vec<Consumer>)> {
    let (name, peer) = (service.name().to_owned(), peers.by_name(service.name())?);
    let (mut health, mut feed) = (HealthServiceClient::new(peer.clone()), ConsumerServiceClient::new(peer.clone()));
    let (measured, following) = futures_util::future::join(
        health.measure(MeasureRequest { service: name.clone() }),
        feed.list_consumers(ListConsumersRequest { service: name }),
    )
    .await;
    // Workspaces and models follow nobody.
    let consumers = following.map(|reply| reply.into_inner().consumers).unwrap_or_default();
    Some((measured.ok()?.into_inner().families, consumers))
}

/// How far each follower is behind the log that it follows, and what it has parked.
fn lags(families: &[Family], consumers: &[Consumer]) -> Vec<Family> {
    let appended = families.iter().filter(|family| family.name == APPENDED).flat_map(|family| &family.samples);
    let heads: BTreeMap<_, _> =
        appended.filter_map(|sample| Some((sample.labels.get("service")?.as_str(), sample.value))).collect();
    let mut lag =
        Family::gauge("trialog_feed_lag_events", "Events of the followed log that a follower has not handled.");
    let mut parked =
        Family::gauge("trialog_feed_parked_facts", "Facts that a follower has set aside: trialog feed parked.");
    let mut halted =
        Family::gauge("trialog_feed_halted", "Whether a follower stands still until somebody settles why.");
    for consumer in consumers {
        let labels = [("consumer", consumer.consumer.as_str())];
        if let Some(head) = heads.get(consumer.follows.as_str()) {
            lag = lag.with(&labels, (head - consumer.position as f64).max(0.0));
        }
        parked = parked.with(&labels, consumer.parked_facts as f64);
        halted = halted.with(&labels, f64::from(u8::from(consumer.state == "Halted")));
    }
    vec![lag, parked, halted]
}

/// Families of one name as one, in the order of their names.
pub(crate) fn merged(families: Vec<Family>) -> Vec<Family> {
    let mut by_name: BTreeMap<String, Family> = BTreeMap::new();
    for family in families {
        match by_name.get_mut(&family.name) {
            Some(known) => known.samples.extend(family.samples),
            None => drop(by_name.insert(family.name.clone(), family)),
        }
    }
    by_name.into_values().filter(|family| !family.samples.is_empty()).collect()
}

/// The text format of Prometheus, version 0.0.4.
pub(crate) fn render(families: &[Family]) -> String {
    let mut text = String::new();
    for Family { name, help, r#type, samples } in families {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a text cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {type}", r#type = r#type);
        for Sample { suffix, labels, value } in samples {
            let _ = writeln!(text, "{name}{suffix}{} {value}", labelled(labels));
        }
        text.push('\n');
    }
    text
}

fn labelled(labels: &BTreeMap<String, String>) -> String {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_of_several_services_are_one_and_labels_cannot_break_out_of_their_quotes() {
        let bytes =
            |service: &str, value| Family::gauge("b_bytes", "Size\\n of\nit.").with(&[("service", service)], value);
        let families = merged(vec![bytes("a\"b\\c\nd", 1.0), Family::counter("a_total", "None."), bytes("two", 2.5)]);
        let expected = "# HELP b_bytes Size\\\\n of\\nit.\n# TYPE b_bytes gauge\n\
                        b_bytes{service=\"a\\\"b\\\\c\\nd\"} 1\nb_bytes{service=\"two\"} 2.5\n\n";
        assert_eq!(render(&families), expected, "a family without a number is left out");
    }

    #[test]
    fn a_follower_is_as_far_behind_as_its_source_has_more_events() {
        let heads = Family::counter(APPENDED, "Events.").with(&[("service", "runs")], 12.0);
        let consumer = |name: &str, position, state: &str| Consumer {
            consumer: name.to_owned(),
            follows: "runs".to_owned(),
            position,
            state: state.to_owned(),
            parked_facts: 2,
            ..Consumer::default()
        };
        let text = render(&lags(&[heads], &[consumer("a.x", 9, "Following"), consumer("b.y", 13, "Halted")]));
        for line in [
            "trialog_feed_lag_events{consumer=\"a.x\"} 3",
            "trialog_feed_lag_events{consumer=\"b.y\"} 0",
            "trialog_feed_parked_facts{consumer=\"a.x\"} 2",
            "trialog_feed_halted{consumer=\"a.x\"} 0",
            "trialog_feed_halted{consumer=\"b.y\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
