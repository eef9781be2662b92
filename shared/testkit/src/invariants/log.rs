//! The laws of each log.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Checked;
use super::observed::{Carried, CursorRow, Installation, Log};

fn each(installation: &Installation, check: impl Fn(&Log) -> Checked) -> Checked {
    installation.logs.iter().try_for_each(|(service, log)| check(log).map_err(|why| format!("{service}: {why}")))
}

pub(super) fn acknowledged_is_stored(installation: &Installation) -> Checked {
    for change in &installation.acknowledged {
        let (service, position, content) = (&change.service, change.position, &change.content);
        let event = installation.events(service).iter().find(|event| event.position == position);
        let Some(event) = event else { return Err(format!("{service}: {content} was acknowledged at {position}")) };
        if !event.data.contains(content) && !event.stream.contains(content) {
            return Err(format!("{service}: {content} was acknowledged at {position}, where {event:?} is"));
        }
    }
    Ok(())
}

pub(super) fn positions_are_dense(installation: &Installation) -> Checked {
    each(installation, |log| {
        let wrong = log.events.iter().zip(1..).find(|(event, position)| event.position != *position);
        if let Some((event, position)) = wrong {
            return Err(format!("at position {position} stands the event of {}", event.position));
        }
        let count = log.events.len() as i64;
        if count == log.head { Ok(()) } else { Err(format!("{count} events, and the head says {}", log.head)) }
    })
}

pub(super) fn versions_are_dense(installation: &Installation) -> Checked {
    each(installation, |log| {
        let mut versions: HashMap<&str, i64> = HashMap::new();
        for event in &log.events {
            let version = versions.entry(&event.stream).or_default();
            *version += 1;
            if event.version != *version {
                return Err(format!("stream {}: version {} after {}", event.stream, event.version, *version - 1));
            }
        }
        Ok(())
    })
}

pub(super) fn appends_are_contiguous(installation: &Installation) -> Checked {
    each(installation, |log| {
        let mut last: HashMap<_, (i64, &str)> = HashMap::new();
        for event in &log.events {
            match last.insert(event.command_id, (event.position, &event.stream)) {
                Some((before, stream)) if before + 1 != event.position || stream != event.stream => {
                    return Err(format!("the append of {} is torn at {}", event.command_id, event.position));
                }
                _ => {}
            }
        }
        Ok(())
    })
}

pub(super) fn each_version_has_one_winner(installation: &Installation) -> Checked {
    each(installation, |log| {
        let mut winners = BTreeSet::new();
        match log.events.iter().find(|event| !winners.insert((&event.stream, event.version))) {
            Some(event) => Err(format!("stream {} has version {} twice", event.stream, event.version)),
            None => Ok(()),
        }
    })
}

pub(super) fn each_command_has_one_result(installation: &Installation) -> Checked {
    each(installation, |log| {
        let mut spans: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        for event in &log.events {
            let span = spans.entry(event.command_id.to_string()).or_insert((event.position, event.position));
            *span = (span.0.min(event.position), span.1.max(event.position));
        }
        let mut seen = BTreeSet::new();
        for row in &log.commands {
            if !seen.insert(&row.command_id) {
                return Err(format!("command {} has two results", row.command_id));
            }
            let span = (row.first_position, row.last_position);
            let stored = spans.remove(&row.command_id);
            let is_right = if span.0 > span.1 { stored.is_none() } else { stored == Some(span) };
            if !is_right {
                return Err(format!("command {}: its result says {span:?}, its events {stored:?}", row.command_id));
            }
        }
        match spans.first_key_value() {
            Some((command, span)) => Err(format!("the events {span:?} of command {command} have no result")),
            None => Ok(()),
        }
    })
}

pub(super) fn times_never_decrease(installation: &Installation) -> Checked {
    each(installation, |log| {
        let pairs = log.events.iter().zip(log.events.iter().skip(1));
        match pairs.into_iter().find(|(before, after)| before.recorded_at_us > after.recorded_at_us) {
            Some((_, after)) => Err(format!("the event at {} was recorded before the one before it", after.position)),
            None => Ok(()),
        }
    })
}

/// A record that comes again is dropped by its position, as readers do.
pub(super) fn topics_are_the_prefix_of_their_tables(installation: &Installation) -> Checked {
    for (service, records) in &installation.topics {
        let Some(log) = installation.logs.get(service) else {
            return Err(format!("{service} has a topic, and no log"));
        };
        let mut records: Vec<&Carried> = records.iter().collect();
        records.sort_by_key(|record| (record.partition, record.offset));
        let (mut last, mut streams): (BTreeMap<i64, i64>, BTreeMap<&str, i64>) = Default::default();
        for record in records {
            let header = |name: &str| record.headers.get(name).map_or("", String::as_str);
            let here = format!("{service}, partition {}, record {}", record.partition, record.offset);
            let position: i64 = header("position").parse().map_err(|_| format!("{here} has no position"))?;
            let event = usize::try_from(position - 1).ok().and_then(|place| log.events.get(place));
            let Some(event) = event else { return Err(format!("{here}: nothing is stored at {position}")) };
            let is_same = event.event_id.to_string() == header("event-id") && event.stream == header("stream");
            if !is_same || header("source") != log.source {
                return Err(format!("{here} is not what is stored at {position}: {:?}", record.headers));
            }
            if last.get(&record.partition).is_some_and(|last| position <= *last) {
                continue;
            }
            last.insert(record.partition, position);
            let before = streams.insert(&event.stream, position);
            let previous: Option<i64> = header("previous").parse().ok();
            if previous.is_some() && previous != before {
                return Err(format!("{here} says that {previous:?} came before it in its stream, and {before:?} did"));
            }
        }
    }
    Ok(())
}

/// The projection of those that send a log on to its topic.
const RELAY: &str = "kafka_relay";

pub(super) fn cursors_stay_within_their_sources(installation: &Installation) -> Checked {
    let heads: BTreeMap<&str, i64> = installation.logs.values().map(|log| (log.source.as_str(), log.head)).collect();
    each(installation, |log| {
        let ahead = |cursor: &&CursorRow| heads.get(cursor.source.as_str()).is_some_and(|head| cursor.position > *head);
        match log.cursors.iter().find(ahead) {
            Some(cursor) => Err(format!("{cursor:?} is beyond its source")),
            None => Ok(()),
        }
    })?;
    let last = installation.logs.iter().map(|(service, log)| (service, &log.cursors));
    let samples = installation.samples.iter().map(|sample| (&sample.service, &sample.cursors)).chain(last);
    let mut highest: BTreeMap<(&str, &str, &str, i64), i64> = BTreeMap::new();
    for (service, cursors) in samples {
        for CursorRow { projection, source, partition, position } in cursors {
            // A relay begins where its topic ends, which may be before its cursor: what it sends again is dropped.
            if projection == RELAY {
                continue;
            }
            let before = highest.entry((service, projection, source, *partition)).or_insert(*position);
            if position < before {
                return Err(format!("{service}: {projection} of {source} went from {before} back to {position}"));
            }
            *before = *position;
        }
    }
    Ok(())
}
