//! The configuration of a server process; flags win over it.

use std::path::{Path, PathBuf};

use runtime::telemetry::Format;
use serde::{Deserialize, Serialize};

/// Keys of `--config`; each can be set by `TRIALOG_SERVER__SECTION__KEY`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The front door.
    pub http: Http,
    /// Between the processes of an installation.
    pub peers: Peers,
    /// Where the services keep their logs.
    pub store: Store,
    /// Where objects are kept.
    pub objects: Objects,
    /// How services get each other's facts.
    pub feed: Feed,
    /// Sweeps.
    pub sweeps: Sweeps,
    /// The disk of the data folder.
    pub disk: Disk,
    /// Nodes.
    pub compute: Compute,
}

/// The front door.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Where REST listens; loopback by default, since the first start has one token only.
    pub listen: String,
    /// Worker threads of the front door; parsing is short, two keep both cores of a small machine busy.
    pub workers: usize,
    /// A PEM file with the certificate and what it is signed by, up to a known authority: REST speaks https then. It
    /// is read at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_certificate: Option<PathBuf>,
    /// A PEM file with its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// A PEM file with the authority that signed the certificate, when it is none that every machine knows: clients on
    /// this machine trust it, and jobs get its path as TRIALOG_CA_FILE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<PathBuf>,
    /// The address under which clients and jobs reach REST, e.g. https://trialog.example.org; where it listens by
    /// default. A certificate is good for the names that are in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            workers: 2,
            tls_certificate: None,
            tls_key: None,
            tls_ca: None,
            public_url: None,
        }
    }
}

/// Between the processes of an installation: with these three they speak TLS over TCP, and take only each other for
/// one. The files are read at the start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Peers {
    /// A PEM file with the authority of the installation's own that has signed the certificate of each process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<PathBuf>,
    /// A PEM file with this process's certificate, for servers and for clients, and for the names by which others
    /// reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_certificate: Option<PathBuf>,
    /// A PEM file with its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
}

/// Where the services keep their logs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// A PostgreSQL database, `postgres://USER@HOST/DATABASE`; empty: files in the data folder. The password is better
    /// given by PGPASSWORD or `.pgpass`.
    #[serde(serialize_with = "without_password")]
    pub url: String,
    /// What the names of its schemas begin with: `PREFIX_SERVICE`.
    pub prefix: String,
}

impl Default for Store {
    fn default() -> Self {
        Self { url: String::new(), prefix: "trialog".to_owned() }
    }
}

impl Store {
    /// The stores of an installation whose files are in a folder.
    ///
    /// # Errors
    /// When the URL is none, or this build has no such store.
    pub fn stores(&self, folder: &std::path::Path) -> anyhow::Result<eventlog::Stores> {
        if self.url.is_empty() {
            return Ok(super::databases::in_folder(folder));
        }
        #[cfg(feature = "postgres")]
        return Ok(eventlog::Stores::in_postgres(&self.url, &self.prefix)?);
        #[cfg(not(feature = "postgres"))]
        anyhow::bail!("store.url: this build has no PostgreSQL store; build it with `cargo build --features postgres`");
    }
}

/// Where objects are kept: artifacts, models, code.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Objects {
    /// A bucket, `s3://BUCKET/PREFIX`; empty: the data folder of runs. What is empty below is as the environment's
    /// AWS_* say, which is where keys are better given.
    pub url: String,
    /// Where it is, when it is not Amazon's: `https://HOST:PORT`.
    pub endpoint: String,
    /// The region of the bucket.
    pub region: String,
    /// Who asks.
    pub access_key_id: String,
    /// What proves it.
    #[serde(serialize_with = "hidden_secret")]
    pub secret_access_key: String,
    /// What goes with it where keys are good for some hours.
    #[serde(serialize_with = "hidden_secret")]
    pub session_token: String,
    /// Whether the endpoint may be an `http://` one.
    pub allow_http: bool,
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Objects {
    /// The objects of an installation whose files are in a folder.
    ///
    /// # Errors
    /// When the configuration is none, or this build knows no such store.
    pub fn open(&self, folder: &std::path::Path) -> anyhow::Result<runs::objects::Objects> {
        if !self.are_shared() {
            return runs::objects::Objects::local(&folder.join("objects"));
        }
        let Self { url, endpoint, region, access_key_id, secret_access_key, session_token, allow_http } = self.clone();
        runs::objects::Objects::s3(&runs::objects::S3 {
            url,
            endpoint,
            region,
            access_key_id,
            secret_access_key,
            session_token,
            allow_http,
        })
    }

    /// Whether other processes reach the same objects.
    pub fn are_shared(&self) -> bool {
        !self.url.is_empty()
    }
}

/// That there is a secret may be printed, and nothing else of it.
fn hidden_secret<S: serde::Serializer>(secret: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if secret.is_empty() { "" } else { "***" })
}

/// What is printed hides what stands between `:` and `@`, and the query, where a password may be, too.
fn without_password<S: serde::Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hidden(url))
}

/// A URL as it may be shown.
pub fn hidden(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let shown = match rest.rsplit_once('@').map(|(user, host)| (user.split_once(':'), host)) {
        Some((Some((user, _)), host)) => format!("{scheme}://{user}:***@{host}"),
        _ => url.to_owned(),
    };
    shown.split_once('?').map(|(place, _)| format!("{place}?***")).unwrap_or(shown)
}

/// How services get each other's facts: from the logs themselves, unless something carries them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Feed {
    /// Apache Kafka, 2.4 or later.
    pub kafka: Kafka,
}

/// Facts through Kafka.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kafka {
    /// Brokers to ask first, `HOST:PORT`, separated by commas; empty: no Kafka.
    pub bootstrap: String,
    /// What the names of topics begin with, `PREFIX.SERVICE.v1`: each installation has its own.
    pub prefix: String,
    /// Partitions of each topic, when it is made: they are never changed in place.
    pub partitions: i32,
    /// Replicas of each partition; 0: as many as the brokers make by themselves. 3 survive the loss of one.
    pub replication: i32,
    /// Whether the brokers are reached by TLS.
    pub tls: bool,
    /// A PEM file with the authority that signed their certificates, when it is none that the machine knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<PathBuf>,
    /// The user that shows itself to them by SCRAM-SHA-512; empty: none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// A file with its password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            bootstrap: String::new(),
            prefix: "trialog".to_owned(),
            partitions: 6,
            replication: 0,
            tls: false,
            tls_ca: None,
            user: String::new(),
            password_file: None,
        }
    }
}

impl Feed {
    /// The feeds of services behind `peers`.
    ///
    /// # Errors
    /// When the settings are none, or this build has no Kafka.
    pub fn feeds(&self, peers: contracts::Peers) -> anyhow::Result<feed::Feeds> {
        let feeds = feed::Feeds::new(peers);
        let Kafka { bootstrap, prefix, partitions, replication, .. } = self.kafka.clone();
        if bootstrap.is_empty() {
            return Ok(feeds);
        }
        anyhow::ensure!((1..=PARTITIONS_MAX).contains(&partitions), "feed.kafka.partitions: 1 to {PARTITIONS_MAX}");
        anyhow::ensure!((0..=16).contains(&replication), "feed.kafka.replication: 0 to 16");
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
        let is_name = !prefix.is_empty() && prefix.len() <= PREFIX_MAX && prefix.chars().all(is_plain);
        anyhow::ensure!(is_name, "feed.kafka.prefix: letters, digits, '.', '_' and '-', at most {PREFIX_MAX}");
        self.kafka.check_security()?;
        #[cfg(feature = "kafka")]
        {
            let security = self.kafka.security()?;
            Ok(feeds.through(feed::kafka::Kafka { bootstrap, prefix, partitions, replication, security }))
        }
        #[cfg(not(feature = "kafka"))]
        anyhow::bail!("feed.kafka.bootstrap: this build has no Kafka; build it with `cargo build --features kafka`");
    }
}

impl Kafka {
    /// What of the keys goes together.
    fn check_security(&self) -> anyhow::Result<()> {
        let is_asked = self.tls || !self.user.is_empty();
        anyhow::ensure!(
            !is_asked || cfg!(feature = "kafka-tls"),
            "feed.kafka.tls: this build has no TLS for Kafka; build it with `cargo build --features kafka-tls`"
        );
        anyhow::ensure!(self.tls || self.tls_ca.is_none(), "feed.kafka.tls_ca is for tls = true");
        anyhow::ensure!(
            self.user.is_empty() == self.password_file.is_none(),
            "a user and its password are named together: feed.kafka.user and feed.kafka.password_file"
        );
        anyhow::ensure!(
            self.tls || self.user.is_empty(),
            "feed.kafka.user without feed.kafka.tls: what is sent can be read and changed on its way; set tls = true"
        );
        Ok(())
    }

    #[cfg(feature = "kafka")]
    fn security(&self) -> anyhow::Result<feed::kafka::Security> {
        use anyhow::Context;
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path);
            text.with_context(|| format!("feed.kafka.password_file {}", path.display()))
        };
        let password = self.password_file.as_ref().map(read).transpose()?;
        let user = password.map(|password| (self.user.clone(), password.trim_end_matches('\n').to_owned()));
        let ca = match &self.tls_ca {
            Some(path) => Some(path.canonicalize().with_context(|| format!("feed.kafka.tls_ca {}", path.display()))?),
            None => None,
        };
        Ok(feed::kafka::Security { tls: self.tls, ca, user })
    }
}

/// More partitions of a topic than this help nobody: each is asked at every start.
const PARTITIONS_MAX: i32 = 256;
/// Kafka's names have 249 characters at most.
const PREFIX_MAX: usize = 200;

/// Limits of sweeps on this server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sweeps {
    /// The most trials that a sweep may ask for; at most 1,000,000.
    pub max_trials: u32,
    /// The most trials that a sweep may have at the same time.
    pub max_concurrent_trials: u32,
}

impl Default for Sweeps {
    fn default() -> Self {
        Self { max_trials: 1000, max_concurrent_trials: 100 }
    }
}

/// The disk of the data folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Disk {
    /// With fewer free bytes the process is not ready: 128 MiB are the databases' write-ahead logs, 16 MiB each, and
    /// some seconds in which somebody frees more.
    pub free_bytes_min: u64,
}

impl Default for Disk {
    fn default() -> Self {
        Self { free_bytes_min: 128 << 20 }
    }
}

/// Nodes of this server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compute {
    /// Seconds that the agents of nodes wait for a server that does not come back, once nothing runs on their nodes:
    /// long enough for an upgrade, short enough that nothing stays of a server that was given up.
    pub agents_away_seconds: f64,
}

impl Default for Compute {
    fn default() -> Self {
        Self { agents_away_seconds: 600.0 }
    }
}

/// The settings in force before flags.
///
/// # Errors
/// When the file cannot be read or a key is unknown.
pub fn load(file: Option<&Path>) -> anyhow::Result<Settings> {
    Ok(runtime::config::load(file, std::env::vars())?)
}

/// Flags of every server process.
#[derive(clap::Args)]
pub struct Flags {
    /// A PEM file with the certificate of REST, which speaks https then.
    #[arg(long, requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// A PEM file with the certificate's key.
    #[arg(long, requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// A PEM file with the authority that signed the certificate, when it is none that every machine knows.
    #[arg(long)]
    tls_ca: Option<PathBuf>,
    /// The address under which clients and jobs reach REST; where it listens by default.
    #[arg(long)]
    public_url: Option<String>,
    /// How the log is written: text, or json for what collects logs.
    #[arg(long, env = "TRIALOG_LOG_FORMAT", default_value = "text")]
    log_format: Format,
    /// A TOML file.
    #[arg(long)]
    config: Option<PathBuf>,
}

impl Flags {
    /// Starts the log and reads the configuration, with these flags over it.
    ///
    /// # Errors
    /// See [`load`].
    pub fn begin(self) -> anyhow::Result<Settings> {
        runtime::telemetry::start(runtime::telemetry::SERVER, self.log_format);
        let mut settings = load(self.config.as_deref())?;
        let http = &mut settings.http;
        http.tls_certificate = self.tls_certificate.or(http.tls_certificate.take());
        http.tls_key = self.tls_key.or(http.tls_key.take());
        http.tls_ca = self.tls_ca.or(http.tls_ca.take());
        http.public_url = self.public_url.or(http.public_url.take());
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::{Kafka, Settings, hidden};

    #[test]
    fn what_is_printed_of_an_object_store_has_no_secret_in_it() {
        // `doctor` prints the configuration, and what it prints is sent to whoever helps.
        let text = "[objects]\nurl = \"s3://lab\"\naccess_key_id = \"who\"\nsecret_access_key = \"key!\"\n\
                    session_token = \"token!\"\n";
        let settings: Settings = toml::from_str(text).unwrap();
        assert_eq!(settings.objects.secret_access_key, "key!");
        for shown in [toml::to_string_pretty(&settings).unwrap(), format!("{settings:?}")] {
            assert!(shown.contains("s3://lab") && !shown.contains("key!") && !shown.contains("token!"), "{shown}");
        }
        let folder = tempfile::tempdir().unwrap();
        assert!(!Settings::default().objects.open(folder.path()).unwrap().is_shared());
    }

    #[test]
    #[cfg(not(feature = "s3"))]
    fn a_build_without_s3_says_how_to_get_one() {
        let settings: Settings = toml::from_str("[objects]\nurl = \"s3://lab\"\n").unwrap();
        let refused = settings.objects.open(std::path::Path::new(".")).unwrap_err().to_string();
        assert!(refused.contains("cargo build --features s3"), "{refused}");
    }

    #[test]
    fn what_does_not_go_together_to_reach_kafka_is_refused() {
        let of = |kafka: Kafka| kafka.check_security().err().map(|error| error.to_string()).unwrap_or_default();
        let (file, user) = (Some("file".into()), "ada".to_owned());
        assert_eq!(of(Kafka::default()), "");
        assert!(of(Kafka { tls_ca: file.clone(), ..Kafka::default() }).contains("tls = true"));
        assert!(of(Kafka { password_file: file.clone(), ..Kafka::default() }).contains("feed.kafka.user"));
        let named = Kafka { user, password_file: file, ..Kafka::default() };
        assert_eq!(of(named.clone()).contains("set tls = true"), cfg!(feature = "kafka-tls"));
        assert_eq!(of(Kafka { tls: true, ..named }).is_empty(), cfg!(feature = "kafka-tls"));
    }

    #[test]
    fn what_is_printed_of_a_database_has_no_password_wherever_it_stands() {
        assert_eq!(hidden("postgres://ann:secret@host:5432/db"), "postgres://ann:***@host:5432/db");
        assert_eq!(hidden("postgres://ann@host/db?password=secret&host=/run"), "postgres://ann@host/db?***");
        assert_eq!(hidden("postgres://ann:sec?ret@host/db"), "postgres://ann:***@host/db");
        assert_eq!(hidden("postgres://ann@host/db?password=a@b"), "postgres://ann@host/db?***");
        assert_eq!(hidden("postgres://host/db?password=a:b@c"), "postgres://host/db?***");
        assert_eq!(hidden("postgres://host/db"), "postgres://host/db");
        assert_eq!(hidden(""), "");
    }
}
