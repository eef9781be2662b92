//! A cluster of this machine's nodes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::Client;

/// How long it may take to be there: a debug build on a busy machine needs a fraction of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Puts a cluster whose one node comes at once and stays, but for what is said otherwise, and waits until it is there.
///
/// # Panics
/// When it is refused, or not there in time.
pub fn put_cluster(client: &Client, name: &str, otherwise: &Value) {
    let mut cluster = json!({
        "vm_size": "D2", "vm_priority": "dedicated",
        "scale": {"min_nodes": 0, "max_nodes": 1, "idle_seconds_before_scaledown": 600},
        "provider": {"kind": "local", "boot_seconds": 0}
    });
    change(&mut cluster, otherwise);
    let path = format!("clusters/{name}");
    let put = client.put(&path, &cluster);
    assert!([200, 201].contains(&put.status), "{path}: {}", put.text());
    client.await_version(&path, PATIENCE, |cluster| cluster["provisioning_state"] == "Succeeded");
}

/// Puts the fields of `otherwise` in the place of those that are there.
fn change(document: &mut Value, otherwise: &Value) {
    match (document, otherwise) {
        (Value::Object(fields), Value::Object(others)) => {
            for (name, value) in others {
                change(fields.entry(name.as_str()).or_insert(Value::Null), value);
            }
        }
        (document, otherwise) => *document = otherwise.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_otherwise_replaces_only_that() {
        let mut document = json!({"scale": {"max_nodes": 1, "min_nodes": 0}, "vm_size": "D2"});
        change(&mut document, &json!({"scale": {"max_nodes": 3}, "vm_size": "D8", "provider": {"kind": "local"}}));
        let wanted = json!({
            "scale": {"max_nodes": 3, "min_nodes": 0}, "vm_size": "D8", "provider": {"kind": "local"}
        });
        assert_eq!(document, wanted);
    }
}
