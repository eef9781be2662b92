//! A fact as a record: its message is the value, everything else are headers. A watermark has no value and no key.

use std::collections::HashMap;

use contracts::feed::Fact;

/// The type of a watermark.
const WATERMARK: &str = "Watermark";
/// What a value is.
const PROTOBUF: &str = "application/protobuf";
const JSON: &str = "application/json";

/// Headers that every record of a relay has: who has them all is ours, and what is wrong with it is not passed over.
const OURS: [&str; 4] = ["source", "position", "epoch", "type"];

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

/// A record as it was written. One of a relay's of which only the place can be read is a fact that nobody can read, so
/// that its lane waits until somebody settles it.
///
/// # Errors
/// When it is none of a relay's: something else writes to the topic; or its place cannot be read.
pub(super) fn read<'a>(
    (partition, offset): (i32, i64),
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    value: &[u8],
) -> Result<Record, String> {
    let mut headers = Headers { values: headers.collect(), broken: Vec::new() };
    if !OURS.iter().all(|name| headers.values.contains_key(name)) {
        return Err(foreign(partition, offset));
    }
    let (source, position) = (headers.text("source"), headers.number("position"));
    let stamp = Stamp { epoch: headers.number("epoch"), head: headers.number("head") };
    let kind = headers.text("type");
    let watermark = kind == WATERMARK;
    let broken = |broken: &[String]| {
        let broken = broken.join(", ");
        format!(
            "record {offset} of partition {partition} is a fact of a relay whose headers are broken: {broken}. \
             Something else writes to the topic, or has changed what was sent"
        )
    };
    if !headers.broken.is_empty() {
        return Err(broken(&headers.broken));
    }
    let mut fact = Fact {
        source,
        position,
        stream: headers.text("stream"),
        version: headers.number("version"),
        r#type: if watermark { String::new() } else { kind },
        recorded_at_us: headers.number("recorded-at-us"),
        event_id: headers.text("event-id"),
        causation: headers.text("causation"),
        payload: value.to_vec(),
        watermark,
        previous: headers.number("previous"),
        partition: partition + 1,
        request_id: headers.text("request-id"),
        traceparent: headers.text("traceparent"),
        unreadable: headers.text("unreadable"),
        resume: offset + 1,
    };
    match headers.broken.is_empty() {
        true => {}
        // It belongs to no lane.
        false if watermark => return Err(broken(&headers.broken)),
        false => fact.unreadable = broken(&headers.broken),
    }
    Ok(Record { partition, offset, stamp, fact })
}

/// The headers of a record, and what could not be read of them.
struct Headers<'a> {
    values: HashMap<&'a str, &'a [u8]>,
    broken: Vec<String>,
}

impl Headers<'_> {
    /// A text; empty where there is none.
    fn text(&mut self, name: &str) -> String {
        let value = self.values.get(name).copied().unwrap_or_default();
        if let Ok(text) = std::str::from_utf8(value) {
            return text.to_owned();
        }
        self.broken.push(format!("'{name}' is {:?}, and has to be UTF-8", String::from_utf8_lossy(value)));
        String::new()
    }

    /// A number; 0 where there is none.
    fn number(&mut self, name: &str) -> i64 {
        let Some(value) = self.values.get(name) else { return 0 };
        let shown = String::from_utf8_lossy(value);
        if let Ok(number) = shown.parse() {
            return number;
        }
        self.broken.push(format!("'{name}' is {shown:?}, and has to be a whole number"));
        0
    }
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
        for missing in OURS {
            let fact = Fact { source: "runs@1".to_owned(), position: 1, r#type: "A".to_owned(), ..Fact::default() };
            let headers = headers(&fact, Stamp::default());
            let left = headers.iter().filter(|(name, _)| *name != missing);
            let refused = read((0, 0), left.map(|(name, value)| (*name, value.as_bytes())), &[]).unwrap_err();
            assert!(refused.contains("something else writes"), "{refused}");
        }
    }

    #[test]
    fn what_is_broken_of_a_relays_record_is_said_and_not_passed_over() {
        // A header that could not be read was left out: what nobody could read was handled, with half of what it says.
        let with = |name: &'static str, value: &'static [u8], kind: &'static str| {
            let ours = [("source", &b"runs@1"[..]), ("position", b"7"), ("epoch", b"1"), ("type", kind.as_bytes())];
            read((2, 40), ours.into_iter().chain([(name, value)]), b"payload")
        };
        for (name, value) in [("position", &b"x"[..]), ("epoch", b"1.5"), ("head", b""), ("source", b"\xff")] {
            let refused = with(name, value, "A").unwrap_err();
            let wanted = ["record 40 of partition 2", "headers are broken", name];
            assert!(wanted.iter().all(|part| refused.contains(part)), "{refused}");
        }
        for name in ["previous", "version", "recorded-at-us", "unreadable", "causation", "stream", "event-id"] {
            let fact = with(name, b"\xff", "A").unwrap().fact;
            let (wanted, text) = (format!("'{name}' is"), &fact.unreadable);
            assert!(text.contains(&wanted), "its lane is parked: {text}");
            assert_eq!((fact.position, fact.payload.as_slice()), (7, &b"payload"[..]));
            assert!(with(name, b"\xff", WATERMARK).is_err(), "it has no lane");
        }
    }
}
