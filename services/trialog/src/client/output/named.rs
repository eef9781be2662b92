//! What `-o name` prints of one thing: something that other commands take.

use serde_json::Value;

use super::cells::field;

/// Fields that a thing is called by, the first that it has.
const NAMES: [&str; 9] = ["run_id", "token_id", "node_id", "name", "experiment_id", "id", "alias", "path", "version"];

/// The name of a thing.
pub fn of(value: &Value) -> String {
    // A deployment has the version that it serves, too.
    if !field(value, "endpoint").is_empty() && !field(value, "version_id").is_empty() {
        return field(value, "name");
    }
    // A version has the id of the run that it came from, too.
    if !field(value, "version_id").is_empty() {
        return format!("{}/versions/{}", field(value, "model"), field(value, "version"));
    }
    // Neither what was archived nor what was deleted is found by its name.
    if !field(value, "archived_at").is_empty() || !field(value, "deleted_at").is_empty() {
        let id = field(value, "sweep_id");
        if !id.is_empty() {
            return id;
        }
    }
    NAMES.iter().map(|name| field(value, name)).find(|name| !name.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::of;

    #[test]
    fn a_name_is_what_other_commands_take() {
        // `deployment create -o name` printed the model, with the deployment's own counter for its version.
        let deployment = json!({"name": "blue", "endpoint": "churn", "model": "churn", "model_version": 1,
            "version_id": "v_1", "version": 6});
        assert_eq!(of(&deployment), "blue");
        assert_eq!(of(&json!({"token_id": "t_1", "name": "scoring", "endpoint": "churn"})), "t_1");
        // `model register -o name` printed the run, which nothing takes for a model.
        let version = json!({"model": "digits", "version": 3, "version_id": "v_1", "run_id": "run_1"});
        assert_eq!(of(&version), "digits/versions/3");
        let sweep = json!({"sweep_id": "sweep_1", "name": "digits", "archived_at": "", "version": 9});
        assert_eq!(of(&sweep), "digits");
        let archived = json!({"sweep_id": "sweep_1", "name": "digits", "archived_at": "2026-11-01T10:00:00Z"});
        assert_eq!(of(&archived), "sweep_1");
        assert_eq!(of(&json!({"run_id": "run_1", "name": "digits-0", "sweep_id": "sweep_1"})), "run_1");
        assert_eq!(of(&json!({"version": 2, "name": "spot"})), "spot");
    }
}
