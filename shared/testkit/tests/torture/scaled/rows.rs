//! Reads databases and topics as they are, without the services.

use std::collections::BTreeMap;

use eventlog::RecordedEvent;
use serde_json::Value;
use sqlx::{Connection, PgConnection, Row};
use trialog_testkit::Broker;
use trialog_testkit::invariants::{Carried, CommandRow, CursorRow, Log, Sample, ShownSweep};
use uuid::Uuid;

/// Runs a look at the database; an empty one while it is away.
fn looked<T: Default>(look: impl Future<Output = Result<T, sqlx::Error>>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(look).unwrap_or_default()
}

/// The schemas of services, by service.
async fn schemas(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    let get = "SELECT table_schema FROM information_schema.tables WHERE table_name = 'log_head' ORDER BY 1";
    sqlx::query_scalar::<_, String>(get).fetch_all(connection).await
}

async fn enter(connection: &mut PgConnection, schema: &str) -> Result<(String, String), sqlx::Error> {
    sqlx::query("SELECT set_config('search_path', $1, false)").bind(schema).execute(&mut *connection).await?;
    let meta = "SELECT value FROM log_meta WHERE key = $1";
    let service: String = sqlx::query_scalar(meta).bind("service").fetch_one(&mut *connection).await?;
    let incarnation: String = sqlx::query_scalar(meta).bind("incarnation").fetch_one(connection).await?;
    Ok((service.clone(), format!("{service}@{incarnation}")))
}

async fn cursors(connection: &mut PgConnection) -> Result<Vec<CursorRow>, sqlx::Error> {
    let get = "SELECT projection, source, partition::bigint, last_position FROM projection_cursor";
    let rows: Vec<(String, String, i64, i64)> = sqlx::query_as(get).fetch_all(connection).await?;
    let cursor = |(projection, source, partition, position)| CursorRow { projection, source, partition, position };
    Ok(rows.into_iter().map(cursor).collect())
}

/// The cursors of every service now.
pub fn samples(url: &str) -> Vec<Sample> {
    looked(async {
        let mut connection = PgConnection::connect(url).await?;
        let mut samples = Vec::new();
        for schema in schemas(&mut connection).await? {
            let (service, _) = enter(&mut connection, &schema).await?;
            samples.push(Sample { service, cursors: cursors(&mut connection).await? });
        }
        Ok(samples)
    })
}

/// Followers that have not come to the end of what they follow.
pub fn behind(url: &str) -> Vec<String> {
    looked(async {
        let mut connection = PgConnection::connect(url).await?;
        let (mut heads, mut all) = (BTreeMap::new(), Vec::new());
        for schema in schemas(&mut connection).await? {
            let (service, source) = enter(&mut connection, &schema).await?;
            let head = sqlx::query_scalar("SELECT last_position FROM log_head").fetch_one(&mut connection).await?;
            heads.insert(source, head);
            all.extend(cursors(&mut connection).await?.into_iter().map(|cursor| (service.clone(), cursor)));
        }
        let is_behind =
            |cursor: &CursorRow| heads.get(&cursor.source).is_some_and(|head: &i64| cursor.position < *head);
        let behind = all.into_iter().filter(|(_, cursor)| is_behind(cursor));
        Ok(behind.map(|(service, cursor)| format!("{service}: {cursor:?}")).collect())
    })
}

/// Everything that the checks want of every service.
pub fn logs(url: &str) -> BTreeMap<String, Log> {
    looked(async {
        let mut connection = PgConnection::connect(url).await?;
        let mut logs = BTreeMap::new();
        for schema in schemas(&mut connection).await? {
            let (service, source) = enter(&mut connection, &schema).await?;
            let head = sqlx::query_scalar("SELECT last_position FROM log_head").fetch_one(&mut connection).await?;
            let get = "SELECT position, stream_id, version, event_id, type, schema, command_id, recorded_at, data, meta
                       FROM events ORDER BY position";
            let rows = sqlx::query(get).fetch_all(&mut connection).await?;
            let events = rows.iter().map(event).collect::<Result<_, _>>()?;
            let get = "SELECT command_id, first_position, last_position FROM commands";
            let rows: Vec<(Uuid, i64, i64)> = sqlx::query_as(get).fetch_all(&mut connection).await?;
            let command = |(command_id, first_position, last_position): (Uuid, i64, i64)| CommandRow {
                command_id: command_id.to_string(),
                first_position,
                last_position,
            };
            let commands = rows.into_iter().map(command).collect();
            let cursors = cursors(&mut connection).await?;
            let mut writers = BTreeMap::new();
            if service == "runs" {
                let get = "SELECT encode(run, 'hex'), writer, last_sequence FROM metric_writers";
                let rows: Vec<(String, String, i64)> = sqlx::query_as(get).fetch_all(&mut connection).await?;
                writers.extend(rows.into_iter().map(|(run, writer, sequence)| ((run, writer), sequence)));
            }
            logs.insert(service, Log { source, head, events, commands, cursors, writers });
        }
        Ok(logs)
    })
}

fn event(row: &sqlx::postgres::PgRow) -> Result<RecordedEvent, sqlx::Error> {
    Ok(RecordedEvent {
        position: row.try_get(0)?,
        stream: row.try_get(1)?,
        version: row.try_get(2)?,
        event_id: row.try_get(3)?,
        kind: row.try_get(4)?,
        schema: row.try_get(5)?,
        command_id: row.try_get(6)?,
        recorded_at_us: row.try_get(7)?,
        data: row.try_get(8)?,
        meta: row.try_get(9)?,
    })
}

/// The records of every service's topic, without watermarks.
pub fn topics(broker: &Broker) -> BTreeMap<String, Vec<Carried>> {
    let services = ["workspaces", "runs", "sweeps", "models", "compute"];
    let read = |service: &str| {
        let records = broker.records(&format!("trialog.{service}.v1"));
        (service.to_owned(), records.lines().filter_map(record).collect())
    };
    services.iter().map(|service| read(service)).collect()
}

/// A line such as `Partition:0<tab>Offset:3<tab>type:RunCreated,position:7,…`.
fn record(line: &str) -> Option<Carried> {
    let mut parts = line.split('\t');
    let number = |part: Option<&str>, name: &str| part?.strip_prefix(name)?.parse::<i64>().ok();
    let partition = number(parts.next(), "Partition:")?;
    let offset = number(parts.next(), "Offset:")?;
    let pairs = parts.next()?.split(',').filter_map(|pair| pair.split_once(':'));
    let headers: BTreeMap<String, String> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    (headers.get("type").map(String::as_str) != Some("Watermark")).then_some(Carried { partition, offset, headers })
}

/// The sweeps of a list, each with its stream.
pub fn shown(list: &[Value], logs: &BTreeMap<String, Log>) -> Vec<ShownSweep> {
    let submitted = || logs["sweeps"].events.iter().filter(|event| event.kind == "SweepSubmitted");
    let one = |sweep: &Value| {
        let id = sweep["sweep_id"].as_str().expect("an id");
        let stream = submitted().find(|event| event.data.contains(id)).expect("it was submitted").stream.clone();
        let ends = ["Completed", "Failed", "Canceled", "EarlyStopped"];
        let count = |state: &str| sweep["trial_counts"][state].as_u64().unwrap_or_default();
        let ended = ends.iter().map(|state| ((*state).to_owned(), count(state))).collect();
        ShownSweep { stream, proposals: sweep["proposals"].as_u64().unwrap_or_default(), ended }
    };
    list.iter().map(one).collect()
}
