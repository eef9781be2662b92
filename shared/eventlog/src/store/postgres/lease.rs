//! The lease of a log: one row beside its head.

use std::time::Duration;

use sqlx::{Connection, PgConnection, PgPool};

use super::Address;
use super::connect::within;
use super::schema::LEASES;
use crate::lease::{Holder, LEASE, Lease};
use crate::{BoxFuture, Error};

/// How long a renewal may take: the next one then still comes before the lease is over.
const RENEWAL_MAX: Duration = Duration::from_secs(2);

/// The holder of the lease, when it is somebody else's and not over.
const ELSEWHERE: &str =
    "SELECT holder, address FROM leases WHERE holder <> $1 AND expires_at > clock_timestamp() AND name = 'writer'";

/// Takes the lease, unless somebody else has it.
///
/// # Errors
/// Who has it.
pub(super) async fn take(connection: &mut PgConnection, holder: Option<&Holder>) -> Result<(), Error> {
    let (name, address) = holder.map_or(("", ""), |holder| (&holder.name, &holder.address));
    // Whoever has no name keeps it for no time: it is there alone.
    let seconds = if holder.is_some() { LEASE.as_secs_f64() } else { 0.0 };
    let take = "INSERT INTO leases AS old (name, holder, address, epoch, expires_at)
        VALUES ('writer', $1, $2, 0, clock_timestamp() + make_interval(secs => $3))
        ON CONFLICT(name) DO UPDATE
            SET holder = excluded.holder, address = excluded.address, expires_at = excluded.expires_at
            WHERE old.holder = excluded.holder OR old.expires_at <= clock_timestamp()";
    let taken = sqlx::query(take).bind(name).bind(address).bind(seconds).execute(&mut *connection).await?;
    if taken.rows_affected() == 1 {
        return Ok(());
    }
    let found: Option<(String, String)> = sqlx::query_as(ELSEWHERE).bind(name).fetch_optional(connection).await?;
    let (name, address) = found.unwrap_or_default();
    Err(Error::Held(Holder { name, address, keeps_files_of: &[] }))
}

/// Makes the lease that of an epoch, for its whole time from now on.
pub(super) async fn begin(connection: &mut PgConnection, epoch: i64) -> Result<(), Error> {
    let begin = "UPDATE leases SET epoch = $1, expires_at = CASE WHEN holder = '' THEN expires_at
            ELSE clock_timestamp() + make_interval(secs => $2) END WHERE name = 'writer'";
    sqlx::query(begin).bind(epoch).bind(LEASE.as_secs_f64()).execute(connection).await?;
    Ok(())
}

/// Notes with whom the files of a service are, the first time.
///
/// # Errors
/// When they are with somebody else.
pub(super) async fn keep_files(connection: &mut PgConnection, holder: &Holder, service: &str) -> Result<(), Error> {
    if !holder.keeps_files_of.contains(&service) {
        return Ok(());
    }
    let put = "INSERT INTO log_meta(key, value) VALUES ('files_at', $1) ON CONFLICT DO NOTHING";
    sqlx::query(put).bind(&holder.name).execute(&mut *connection).await?;
    let get = "SELECT value FROM log_meta WHERE key = 'files_at'";
    let at: String = sqlx::query_scalar(get).fetch_one(connection).await?;
    if at == holder.name { Ok(()) } else { Err(Error::FilesElsewhere { service: service.to_owned(), at }) }
}

/// Renews the lease of an epoch. Whoever has taken it has not always begun another epoch yet.
///
/// # Errors
/// When it is somebody else's.
pub(super) async fn renew(connection: &mut PgConnection, holder: &Holder, epoch: i64) -> Result<(), Error> {
    let renew = "UPDATE leases SET expires_at = clock_timestamp() + make_interval(secs => $3)
        WHERE name = 'writer' AND holder = $1 AND epoch = $2";
    let renew = sqlx::query(renew).bind(&holder.name).bind(epoch).bind(LEASE.as_secs_f64());
    let renewed = renew.execute(connection).await?;
    if renewed.rows_affected() == 1 { Ok(()) } else { Err(Error::Deposed) }
}

/// A lease that is renewed on a connection of its own.
pub(super) struct Kept {
    address: Address,
    holder: Holder,
    epoch: i64,
    /// None before the first renewal, and after one whose answer did not come.
    connection: Option<PgConnection>,
}

impl Kept {
    /// That of a log that was taken over with this epoch; none where nobody holds it by name.
    pub fn of(address: &Address, epoch: i64) -> Option<Self> {
        Some(Self { holder: address.holder()?.clone(), address: address.clone(), epoch, connection: None })
    }

    async fn renewed(&mut self) -> Result<(), Error> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.address.renewing().await?),
        };
        renew(connection, &self.holder, self.epoch).await
    }
}

impl Lease for Kept {
    fn renew(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let renewed = within(RENEWAL_MAX, self.renewed()).await;
            if renewed.as_ref().is_err_and(Error::is_lost_connection) {
                self.connection = None;
            }
            renewed
        })
    }
}

/// Gives the lease of an epoch back, so that nobody waits until it is over.
pub(super) async fn give_back(connection: &mut PgConnection, holder: &Holder, epoch: i64) -> Result<(), Error> {
    let end = "UPDATE leases SET expires_at = clock_timestamp()
        WHERE name = 'writer' AND holder = $1 AND epoch = $2";
    sqlx::query(end).bind(&holder.name).bind(epoch).execute(connection).await?;
    Ok(())
}

/// Makes the table, in the open transaction: one after the other, since two that make tables at once are in each
/// other's way.
pub(super) async fn make(connection: &mut PgConnection) -> Result<(), Error> {
    let alone = "SELECT pg_advisory_xact_lock(hashtext(current_schema()))";
    sqlx::query(alone).execute(&mut *connection).await?;
    sqlx::raw_sql(LEASES).execute(connection).await?;
    Ok(())
}

/// Takes the lease for a holder that is about to open the log; who else has it.
pub(super) async fn claim(connection: &mut PgConnection, holder: &Holder) -> Result<Option<Holder>, Error> {
    let is_made = "SELECT to_regclass('leases') IS NOT NULL";
    if !sqlx::query_scalar(is_made).fetch_one(&mut *connection).await? {
        let mut tx = connection.begin().await?;
        make(&mut tx).await?;
        tx.commit().await?;
    }
    match take(connection, Some(holder)).await {
        Ok(()) => Ok(None),
        Err(Error::Held(other)) => {
            stand_by(connection, holder).await?;
            Ok(Some(other))
        }
        Err(error) => Err(error),
    }
}

/// Leaves word that a process stands by: for people, nothing is decided on it.
async fn stand_by(connection: &mut PgConnection, holder: &Holder) -> Result<(), Error> {
    let put = "INSERT INTO leases(name, holder, address, epoch, expires_at)
        VALUES ('standby ' || $1, $1, $2, 0, clock_timestamp() + make_interval(secs => $3))
        ON CONFLICT(name) DO UPDATE SET address = excluded.address, expires_at = excluded.expires_at";
    let put = sqlx::query(put).bind(&holder.name).bind(&holder.address).bind(LEASE.as_secs_f64());
    put.execute(&mut *connection).await?;
    // Of those that are gone nobody else does.
    let old = "DELETE FROM leases WHERE name <> 'writer' AND expires_at < clock_timestamp() - interval '1 hour'";
    sqlx::query(old).execute(connection).await?;
    Ok(())
}

/// The processes of a log that live: whether it is the one that writes, and who.
pub(super) async fn processes(pool: &PgPool) -> Result<Vec<(bool, Holder)>, Error> {
    let is_made = "SELECT to_regclass('leases') IS NOT NULL";
    if !sqlx::query_scalar(is_made).fetch_one(pool).await? {
        return Ok(Vec::new());
    }
    let get = "SELECT name = 'writer', holder, address FROM leases
        WHERE expires_at > clock_timestamp() ORDER BY name DESC, holder";
    let rows: Vec<(bool, String, String)> = sqlx::query_as(get).fetch_all(pool).await?;
    Ok(rows
        .into_iter()
        .map(|(writes, name, address)| (writes, Holder { name, address, keeps_files_of: &[] }))
        .collect())
}
