//! A fact as a record: its message is the value, everything else are headers. A watermark has no value and no key.

use std::collections::HashMap;

use contracts::feed::Fact;

/// The type of a watermark.
const WATERMARK: &str = "Watermark";
/// What a value is.
const PROTOBUF: &str = "application/protobuf";
const JSON: &str = "application/json";

/// What the relay adds to a fact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Which of the relays of a topic, one after another, has sent it.
    pub epoch: i64,
    /// The position of the log's last event when it was sent: the log has at least so many.
    pub head: i64,
}

/// A record that was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Record {
    /// As Kafka numbers them, from 0.
    pub partition: i32,
    pub offset: i64,
    pub stamp: Stamp,
    pub fact: Fact,
}

/// The headers of a fact; those that are empty are left out.
pub(super) fn headers(fact: &Fact, stamp: Stamp) -> Vec<(&'static str, String)> {
    let service = fact.source.split('@').next().unwrap_or_default();
    let (kind, schema, content) = match (fact.watermark, fact.unreadable.is_empty()) {
        (true, _) => (WATERMARK.to_owned(), String::new(), ""),
        (false, true) => (fact.r#type.clone(), format!("trialog.{service}.v1.{}", fact.r#type), PROTOBUF),
        (false, false) => (fact.r#type.clone(), String::new(), JSON),
    };
    let number = |number: i64| if number == 0 { String::new() } else { number.to_string() };
    let headers = [
        ("event-id", fact.event_id.clone()),
        ("type", kind),
        ("schema", schema),
        ("stream", fact.stream.clone()),
        ("version", number(fact.version)),
        ("position", fact.position.to_string()),
        ("previous", number(fact.previous)),
        ("source", fact.source.clone()),
        ("epoch", stamp.epoch.to_string()),
        ("head", stamp.head.to_string()),
        ("recorded-at-us", number(fact.recorded_at_us)),
        ("causation", fact.causation.clone()),
        ("request-id", fact.request_id.clone()),
        ("traceparent", fact.traceparent.clone()),
        ("unreadable", fact.unreadable.clone()),
        ("content-type", content.to_owned()),
    ];
    headers.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// A record as it was written.
///
/// # Errors
/// When it is none of a relay's: something else writes to the topic.
pub(super) fn read<'a>(
    (partition, offset): (i32, i64),
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    value: &[u8],
) -> Result<Record, String> {
    let headers: HashMap<&str, &str> =
        headers.filter_map(|(name, value)| Some((name, std::str::from_utf8(value).ok()?))).collect();
    let text = |name: &str| headers.get(name).copied().unwrap_or_default().to_owned();
    let number = |name: &str| headers.get(name).map_or(Ok(0), |value| value.parse::<i64>());
    let is_ours = ["source", "position", "epoch", "type"].iter().all(|name| headers.contains_key(name));
    let numbers = ["position", "epoch", "head", "version", "previous", "recorded-at-us"].map(number);
    let [Ok(position), Ok(epoch), Ok(head), Ok(version), Ok(previous), Ok(recorded_at_us)] = numbers else {
        return Err(foreign(partition, offset));
    };
    if !is_ours {
        return Err(foreign(partition, offset));
    }
    let (kind, watermark) = (text("type"), headers.get("type") == Some(&WATERMARK));
    let fact = Fact {
        source: text("source"),
        position,
        stream: text("stream"),
        version,
        r#type: if watermark { String::new() } else { kind },
        recorded_at_us,
        event_id: text("event-id"),
        causation: text("causation"),
        payload: value.to_vec(),
        watermark,
        previous,
        partition: partition + 1,
        request_id: text("request-id"),
        traceparent: text("traceparent"),
        unreadable: text("unreadable"),
        resume: offset + 1,
    };
    Ok(Record { partition, offset, stamp: Stamp { epoch, head }, fact })
}

fn foreign(partition: i32, offset: i64) -> String {
    format!(
        "record {offset} of partition {partition} has not the headers of a fact: something else writes to the topic; \
         take another feed.kafka.prefix for Trialog"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(fact: &Fact, stamp: Stamp) -> Result<Record, String> {
        let headers = headers(fact, stamp);
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        read((2, 40), headers, &fact.payload)
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let fact = Fact {
            source: "runs@1".to_owned(),
            position: 7,
            stream: "run/1".to_owned(),
            version: 3,
            r#type: "RunEnded".to_owned(),
            recorded_at_us: 1_700_000_000_000_000,
            event_id: "e".to_owned(),
            causation: "sweeps@1:2".to_owned(),
            payload: vec![1, 0, 255],
            watermark: false,
            previous: 5,
            partition: 3,
            request_id: "req_1".to_owned(),
            traceparent: "00-1".to_owned(),
            unreadable: String::new(),
            resume: 41,
        };
        let stamp = Stamp { epoch: 2, head: 9 };
        let whole = Record { partition: 2, offset: 40, stamp, fact: fact.clone() };
        assert_eq!(back(&fact, stamp), Ok(whole));
        let named = headers(&fact, stamp);
        assert!(named.contains(&("schema", "trialog.runs.v1.RunEnded".to_owned())), "{named:?}");
        let unreadable = Fact { unreadable: "why".to_owned(), ..fact.clone() };
        assert_eq!(back(&unreadable, stamp).unwrap().fact, unreadable);
        let first = Fact { previous: 0, causation: String::new(), ..fact };
        assert_eq!(back(&first, stamp).unwrap().fact, first, "what is not there is left out");
    }

    #[test]
    fn a_watermark_says_a_position_and_no_more() {
        let (position, event_id) = (9, "e".to_owned());
        let source = "runs@1".to_owned();
        let fact = Fact { source, position, event_id, watermark: true, partition: 3, resume: 41, ..Fact::default() };
        assert_eq!(back(&fact, Stamp { epoch: 1, head: 9 }).unwrap().fact, fact);
    }

    #[test]
    fn what_another_program_wrote_is_refused() {
        for missing in ["source", "position", "epoch", "type"] {
            let fact = Fact { source: "runs@1".to_owned(), position: 1, r#type: "A".to_owned(), ..Fact::default() };
            let headers = headers(&fact, Stamp::default());
            let left = headers.iter().filter(|(name, _)| *name != missing);
            let refused = read((0, 0), left.map(|(name, value)| (*name, value.as_bytes())), &[]).unwrap_err();
            assert!(refused.contains("something else writes"), "{refused}");
        }
        let garbled = [("source", "runs@1"), ("position", "x"), ("epoch", "1"), ("type", "A")];
        assert!(read((0, 0), garbled.iter().map(|(name, value)| (*name, value.as_bytes())), &[]).is_err());
    }
}
