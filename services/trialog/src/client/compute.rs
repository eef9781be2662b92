//! `trialog cluster` and `trialog node`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::http::{Body, encoded};
use super::output::{self, List as Rows, View, column, field};
use super::{Client, Failure, document};

/// Verbs of clusters.
#[derive(Subcommand)]
pub enum Cluster {
    /// Create a cluster, or change its scale.
    Create(Box<CreateCluster>),
    /// Create or change a cluster as a document says.
    Put {
        /// Its name.
        name: String,
        /// A JSON or YAML file.
        file: PathBuf,
    },
    /// Change the scale.
    Scale {
        /// Its name.
        name: String,
        /// The fewest nodes.
        #[arg(long)]
        min: Option<u32>,
        /// The most nodes.
        #[arg(long)]
        max: Option<u32>,
        /// Seconds that a node may idle.
        #[arg(long)]
        idle_seconds: Option<f64>,
    },
    /// List clusters.
    List {
        #[command(flatten)]
        view: View,
    },
    /// Show a cluster.
    Show {
        /// Its name.
        name: String,
    },
    /// Delete a cluster and release its nodes.
    Delete {
        /// Its name.
        name: String,
        /// Wait until it is gone, at most so many seconds.
        #[arg(long, default_value_t = 0)]
        wait: u32,
        /// Also when deployments, sweeps or runs use it: replicas go, and what runs is canceled.
        #[arg(long)]
        force: bool,
    },
    /// List the sizes that nodes can have.
    Sizes {
        #[command(flatten)]
        view: View,
    },
}

/// A cluster of the local provider, as flags.
#[derive(Args)]
pub struct CreateCluster {
    /// Its name.
    name: String,
    /// What a node has: see `trialog cluster sizes`.
    #[arg(long)]
    vm_size: String,
    /// dedicated or low_priority.
    #[arg(long, default_value = "dedicated")]
    vm_priority: String,
    /// The fewest nodes.
    #[arg(long, default_value_t = 0)]
    min: u32,
    /// The most nodes.
    #[arg(long)]
    max: u32,
    /// Seconds that a node may idle before it is released.
    #[arg(long)]
    idle_seconds: Option<f64>,
    /// Simulated seconds from the request of a node to its readiness.
    #[arg(long)]
    boot_seconds: Option<f64>,
    /// Seconds between the notice of a preemption and its end.
    #[arg(long)]
    notice_seconds: Option<f64>,
    /// Simulate preemptions: mean seconds that a low-priority node lives.
    #[arg(long, requires = "preemption_seed")]
    preemption_mean_seconds: Option<f64>,
    /// The seed of the simulated preemptions.
    #[arg(long)]
    preemption_seed: Option<u64>,
}

impl CreateCluster {
    fn document(&self) -> Value {
        let mut scale = json!({ "min_nodes": self.min, "max_nodes": self.max });
        let mut provider = json!({ "kind": "local" });
        if let Some(idle) = self.idle_seconds {
            scale["idle_seconds_before_scaledown"] = json!(idle);
        }
        for (name, value) in [("boot_seconds", self.boot_seconds), ("notice_seconds", self.notice_seconds)] {
            if let Some(value) = value {
                provider[name] = json!(value);
            }
        }
        if let (Some(mean), Some(seed)) = (self.preemption_mean_seconds, self.preemption_seed) {
            provider["preemption"] = json!({ "mean_seconds": mean, "seed": seed });
        }
        json!({ "vm_size": self.vm_size, "vm_priority": self.vm_priority, "scale": scale, "provider": provider })
    }
}

/// Where the fields of a cluster come from on the command line.
const OPTIONS: [(&str, &str); 9] = [
    ("/vm_size", "--vm-size"),
    ("/vm_priority", "--vm-priority"),
    ("/scale/min_nodes", "--min"),
    ("/scale/max_nodes", "--max"),
    ("/scale/idle_seconds_before_scaledown", "--idle-seconds"),
    ("/provider/boot_seconds", "--boot-seconds"),
    ("/provider/notice_seconds", "--notice-seconds"),
    ("/provider/preemption/mean_seconds", "--preemption-mean-seconds"),
    ("/provider/preemption/seed", "--preemption-seed"),
];

/// Verbs of nodes.
#[derive(Subcommand)]
pub enum Node {
    /// List a cluster's nodes.
    List {
        /// The cluster.
        cluster: String,
        #[command(flatten)]
        view: View,
    },
    /// Preempt a node: notice, grace, end. Its jobs go on elsewhere.
    Preempt {
        /// The cluster.
        cluster: String,
        /// The node's id.
        node: String,
        /// Also when it is dedicated; only an administrator may.
        #[arg(long)]
        drain: bool,
    },
}

/// Runs a verb.
pub async fn cluster(client: &Client, command: Cluster) -> Result<(), Failure> {
    let path = |name: &str| format!("clusters/{}", encoded(name));
    match command {
        Cluster::Create(wanted) => {
            let answer = client.send(Method::PUT, &path(&wanted.name), &Body::Json(wanted.document())).await;
            output::thing(client, &answer.map_err(|failure| failure.in_options(&OPTIONS))?);
        }
        Cluster::Put { name, file } => {
            let answer = client.send(Method::PUT, &path(&name), &document::read(&file)?.body()).await?;
            output::thing(client, &answer);
        }
        Cluster::Scale { name, min, max, idle_seconds } => {
            let mut scale = serde_json::Map::new();
            scale.extend(min.map(|min| ("min_nodes".to_owned(), json!(min))));
            scale.extend(max.map(|max| ("max_nodes".to_owned(), json!(max))));
            scale.extend(idle_seconds.map(|idle| ("idle_seconds_before_scaledown".to_owned(), json!(idle))));
            let body = Body::Json(json!({ "scale": scale }));
            let answer = client.send(Method::PATCH, &path(&name), &body).await;
            output::thing(client, &answer.map_err(|failure| failure.in_options(&OPTIONS))?);
        }
        Cluster::List { view } => {
            let clusters = client.get_all("clusters", "clusters").await?;
            let nodes =
                |row: &Value| format!("{}/{}", field(row, "current_node_count"), field(row, "target_node_count"));
            let columns = vec![
                column("name"),
                column("vm_size"),
                column("vm_priority"),
                column("state").at("provisioning_state"),
                column("nodes").at("current_node_count").words(nodes),
                column("min").at("scale.min_nodes").wide(),
                column("max").at("scale.max_nodes"),
                column("created").at("created_at").age().wide(),
            ];
            output::list(client, &clusters, Rows::new("clusters", columns), &view)?;
        }
        Cluster::Show { name } => output::thing(client, &client.get(&path(&name)).await?),
        Cluster::Delete { name, wait, force } => delete(client, &path(&name), wait, force).await?,
        Cluster::Sizes { view } => {
            let sizes = client.get("vm-sizes").await?;
            let columns = vec![
                column("name"),
                column("vcpus"),
                column("memory").at("memory_bytes").bytes(),
                column("gpus"),
                column("family"),
                column("dedicated").at("price_per_hour_dedicated"),
                column("low_priority").at("price_per_hour_low_priority"),
            ];
            output::list(client, &sizes, Rows::new("sizes", columns), &view)?;
        }
    }
    Ok(())
}

async fn delete(client: &Client, path: &str, wait: u32, force: bool) -> Result<(), Failure> {
    let forced = if force { format!("{path}?force=true") } else { path.to_owned() };
    let answer = client.send(Method::DELETE, &forced, &Body::None).await?;
    gone(client, path, answer, wait).await
}

/// Prints what is being deleted, or waits until the server has forgotten it: it is there while its processes end.
pub(super) async fn gone(client: &Client, path: &str, answer: Value, wait: u32) -> Result<(), Failure> {
    let mut answer = answer;
    for left in (0..wait).rev() {
        let version = answer.get("version").and_then(Value::as_i64).unwrap_or_default();
        match client.get(&format!("{path}?wait=1s&after_version={version}")).await {
            Ok(now) => answer = now,
            Err(Failure::Refused(problem)) if problem.status == 404 => return Ok(()),
            Err(failure) => return Err(failure),
        }
        if left == 0 {
            return Err(Failure::BadNews(format!("still {} after {wait} s", field(&answer, "provisioning_state"))));
        }
    }
    output::thing(client, &answer);
    Ok(())
}

/// Runs a verb.
pub async fn node(client: &Client, command: Node) -> Result<(), Failure> {
    match command {
        Node::List { cluster, view } => {
            let nodes = client.get_all(&format!("clusters/{}/nodes", encoded(&cluster)), "nodes").await?;
            let columns = vec![
                column("node_id"),
                column("state").at("node_state"),
                column("jobs"),
                column("since").age(),
                column("ip").wide(),
                column("port").wide(),
            ];
            output::list(client, &nodes, Rows::new("nodes", columns), &view)?;
        }
        Node::Preempt { cluster, node, drain } => {
            let path = format!("clusters/{}/nodes/{}:preempt", encoded(&cluster), encoded(&node));
            let answer =
                client.send(Method::POST, &path, &Body::Json(json!({ "reason": "asked for", "drain": drain }))).await?;
            output::thing(client, &answer);
        }
    }
    Ok(())
}
