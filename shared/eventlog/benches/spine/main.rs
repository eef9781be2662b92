//! The log on PostgreSQL beside scripts of SQL in the same run: appends without and with a view, replay, and the
//! pattern of a transaction a message. One JSON line per figure.
//!
//! `cargo bench -p trialog-eventlog --features postgres --bench spine`. `TRIALOG_BENCH_POSTGRES` names a server with
//! fsync on, on an ordinary disk; its settings are printed. Names after `--` pick figures. `TRIALOG_BENCH_SECONDS` (4)
//! is how long each is taken, `TRIALOG_BENCH_ROWS` (0) how many events and commands are there before.

#[path = "../figures/mod.rs"]
mod figures;
mod message_db;
mod script;

use std::sync::Arc;

use figures::series::{Span, appends, open, replay, sample};
use figures::{line, report, rows_before, wanted};
use script::Seen;
use sqlx::{Connection, PgConnection};
use trialog_eventlog::{Store, View};
use vocabulary::SeededEntropy;

/// What may change a figure.
const SETTINGS: [&str; 8] = [
    "server_version",
    "fsync",
    "synchronous_commit",
    "shared_buffers",
    "max_wal_size",
    "wal_compression",
    "full_page_writes",
    "data_directory",
];

async fn print_settings(connection: &mut PgConnection) {
    let mut settings = serde_json::Map::new();
    for name in SETTINGS {
        let get = sqlx::query_scalar("SELECT current_setting($1)").bind(name);
        let value: String = get.fetch_one(&mut *connection).await.expect("a setting");
        settings.insert(name.to_owned(), value.into());
    }
    println!("{}", serde_json::json!({"postgres": settings}));
    if settings["fsync"] != "on" {
        eprintln!("fsync is off: the figures say nothing about durability");
    }
}

#[tokio::main]
async fn main() {
    let url = std::env::var("TRIALOG_BENCH_POSTGRES").expect("TRIALOG_BENCH_POSTGRES names a server: make bench-spine");
    let mut connection = PgConnection::connect(&url).await.expect("the server answers");
    print_settings(&mut connection).await;
    let (span, count) = (Span::asked(), rows_before());
    println!(
        "{}",
        serde_json::json!({"event_bytes": sample().len(), "rows_before": count, "span": format!("{span:?}")})
    );
    let entropy = Arc::new(SeededEntropy::new(1));
    for (what, schema, with_view, bar) in
        [("postgres_append_256", "bench", false, 15_000.0), ("postgres_append_256_view", "bench_view", true, 10_000.0)]
    {
        let is_replayed = !with_view && wanted("postgres_replay");
        let is_compared = !with_view && wanted("message_db");
        if !wanted(what) && !is_replayed && !is_compared {
            continue;
        }
        let store = Store::postgres(&url, schema).expect("a plain name");
        let views: Vec<Arc<dyn View>> = if with_view { vec![Arc::new(Seen)] } else { Vec::new() };
        open(store.clone(), &entropy, script::MIGRATIONS, views.clone()).await.close().await;
        script::put_before(&mut connection, schema, count).await.expect("the rows are written");
        let floor_schema = format!("{schema}_floor");
        script::copy(&mut connection, schema, &floor_schema).await.expect("a copy");
        let log = open(store, &entropy, script::MIGRATIONS, views).await;
        if wanted(what) {
            let floor = script::appends(&url, &floor_schema, with_view, span).await.expect("the script runs");
            let value = appends(&log, &entropy, what, (256, false), span).await;
            report(what, value, "appends/s", floor, f64::max(bar, floor * 0.6));
        }
        if is_replayed {
            let floor = script::replay(&mut connection, schema, span).await.expect("the script runs");
            report("postgres_replay_raw", replay(&log, false, span).await, "events/s", floor, 250_000.0);
            report("postgres_replay", replay(&log, true, span).await, "events/s", floor, 150_000.0);
        }
        if is_compared {
            let theirs = message_db::appends(&url, span).await.expect("the script runs");
            let ours = appends(&log, &entropy, "postgres_append_32", (32, false), span).await;
            report("message_db", ours, "appends/s", theirs, theirs * 5.0);
        }
        log.close().await;
        script::drop_schemas(&mut connection, &[schema, &floor_schema]).await.expect("they go");
    }
    let size = sqlx::query_scalar("SELECT pg_database_size(current_database())");
    let size: i64 = size.fetch_one(&mut connection).await.expect("its size");
    line("postgres_bytes_left", size as f64, "bytes", None);
}
