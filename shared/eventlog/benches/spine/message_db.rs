//! The pattern of message-db (`write_message` of its 1.3): a transaction a message, whose position the category's
//! advisory lock keeps in the order of commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::{Connection, PgConnection};
use tokio::time::Instant;

use crate::figures::series::{META, Span, sample};

const CONNECTIONS: usize = 32;

const TABLES: &str = "
DROP SCHEMA IF EXISTS message_store CASCADE;
CREATE SCHEMA message_store;
CREATE TABLE message_store.messages(
    global_position BIGSERIAL PRIMARY KEY, position BIGINT NOT NULL, time TIMESTAMP NOT NULL DEFAULT now(),
    stream_name TEXT NOT NULL, type TEXT NOT NULL, data JSONB, metadata JSONB, id UUID NOT NULL UNIQUE);
CREATE UNIQUE INDEX messages_stream ON message_store.messages(stream_name, position);
CREATE INDEX messages_category ON message_store.messages(split_part(stream_name, '-', 1), global_position);
CREATE FUNCTION message_store.write_message(name TEXT, kind TEXT, data JSONB, metadata JSONB) RETURNS BIGINT AS $$
DECLARE place BIGINT;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(split_part(name, '-', 1), 0));
    SELECT coalesce(max(position), -1) + 1 INTO place FROM message_store.messages WHERE stream_name = name;
    INSERT INTO message_store.messages(id, stream_name, position, type, data, metadata)
        VALUES (gen_random_uuid(), name, place, kind, data, metadata);
    RETURN place;
END;
$$ LANGUAGE plpgsql;
";

/// Messages a second in streams of one category, by 32 connections.
pub async fn appends(url: &str, span: Span) -> sqlx::Result<f64> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(TABLES).execute(&mut connection).await?;
    let (begun, total) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut tasks = Vec::new();
    for client in 0..CONNECTIONS {
        let (mut connection, total) = (PgConnection::connect(url).await?, Arc::clone(&total));
        tasks.push(tokio::spawn(async move {
            let (name, data) = (format!("series-{client}"), sample());
            while begun.elapsed() < span.warm + span.measured {
                let text = "SELECT message_store.write_message($1, 'Observed', $2::jsonb, $3::jsonb)";
                let written = sqlx::query(text).bind(&name).bind(&data).bind(META).execute(&mut connection).await;
                written.expect("a message is written");
                if begun.elapsed() > span.warm {
                    total.fetch_add(1, Ordering::Relaxed);
                }
            }
        }));
    }
    for task in tasks {
        task.await.expect("a client does not panic");
    }
    sqlx::raw_sql("DROP SCHEMA message_store CASCADE").execute(&mut connection).await?;
    Ok(total.load(Ordering::Relaxed) as f64 / (begun.elapsed() - span.warm).as_secs_f64())
}
