//! Stories of tokens.

use serde_json::json;
use trialog_testkit::{Client, await_that};

use super::{PATIENCE, sound};

/// Waits until the door knows a token: it follows the facts of workspaces.
pub fn await_status(client: &Client, path: &str, status: u16) {
    await_that(PATIENCE, || match client.get(path) {
        answer if answer.status == status => Ok(()),
        answer => Err(format!("still {}: {}", answer.status, answer.text())),
    });
}

/// A token of the workspace: its id, and a client that has it.
pub fn token(client: &Client, name: &str, scope: &str) -> (String, Client) {
    let made = client.post("tokens", &json!({"name": name, "scope": scope})).expect(201);
    let text = made["text"].as_str().expect("the text is shown once").to_owned();
    assert!(text.starts_with("tlg_"), "{text}");
    let id = made["token"]["token_id"].as_str().expect("an id").to_owned();
    assert!(!client.get("tokens").text().contains(&text), "a token's text is shown once");
    (id, client.with_token(&text))
}

/// Row 54: who may do what.
pub fn scopes(client: &Client) {
    let (_, reader) = token(client, "reader", "reader");
    await_status(&reader, "sweeps", 200);
    reader.post("sweeps", &sound("forbidden")).refused(403, "Forbidden");
    reader.delete("clusters/spot").refused(403, "Forbidden");
    reader.post("tokens", &json!({"name": "more", "scope": "owner"})).refused(403, "Forbidden");
    let (_, contributor) = token(client, "contributor", "contributor");
    await_status(&contributor, "sweeps", 200);
    contributor.post("runs", &json!({"name": "mine"})).expect(201);
    // Nobody makes a token that can do more than its maker.
    contributor.post("tokens", &json!({"name": "more", "scope": "owner"})).refused(403, "Forbidden");
    let (_, scorer) = token(client, "scorer", "scorer");
    await_status(&scorer, "sweeps", 403);
    // The token as a password, for clients that know nothing else.
    let basic = client.request("GET", "sweeps").header("Authorization", "Basic bm9ib2R5Ondyb25n").once().send();
    basic.refused(401, "Unauthenticated");
}

/// Row 54, second half: 404 instead of 403.
pub fn a_workspace_is_not_seen_from_another(client: &Client) {
    client.put("/api/v1/workspaces/other", &json!({})).expect(201);
    let other = client.in_workspace("other");
    await_status(&other, "sweeps", 200);
    let (_, stranger) = token(&other, "stranger", "owner");
    await_status(&stranger, "sweeps", 200);
    let here = stranger.in_workspace("default");
    let refused = here.get("sweeps").refused(404, "NotFound");
    assert_eq!(refused["detail"], json!("workspace 'default'"));
    let run = client.post("runs", &json!({"name": "hidden"})).expect(201)["run_id"].clone();
    let run = run.as_str().expect("an id");
    other.get(&format!("runs/{run}")).refused(404, "NotFound");
    // Neither does it learn whether another one exists by trying to make it.
    stranger.put("/api/v1/workspaces/third", &json!({})).refused(404, "NotFound");
    // Both spellings of a run's id, and the right workspace.
    let shown = client.get(&format!("runs/{run}")).expect(200);
    assert_eq!(shown["run_id"], json!(run));
}

/// A revocation holds within the feed's lag.
pub fn a_revoked_token(client: &Client) {
    let (id, brief) = token(client, "brief", "contributor");
    await_status(&brief, "sweeps", 200);
    client.delete(&format!("tokens/{id}")).expect(200);
    await_status(&brief, "sweeps", 401);
}

/// What it did is its name's, and after its time it is refused.
pub fn a_token_that_ends_by_itself(client: &Client) {
    let made =
        client.post("tokens", &json!({"name": "Zoë", "scope": "contributor", "expires_in_seconds": 3})).expect(201);
    assert_ne!(made["token"]["expires_at"], "", "{made}");
    let brief = client.with_token(made["text"].as_str().expect("a text"));
    let sweep = brief.post("sweeps", &sound("brief")).expect(201)["id"].clone();
    let sweep = format!("sweeps/{}", sweep.as_str().expect("an id"));
    brief.post(&format!("{sweep}:cancel"), &json!({}));
    let end = client.await_version(&sweep, PATIENCE, |sweep| sweep["state"] == "Canceled");
    assert_eq!(end["reason"], "Zoë");
    await_status(&brief, "sweeps", 401);
    brief.get("sweeps").refused(401, "TokenExpired");
}

/// Whether something was there before is said by the status, and a repeat says what the first time was.
pub fn the_first_put_makes_and_the_second_does_not(client: &Client) {
    let cluster = json!({"vm_size": "D2", "vm_priority": "dedicated", "scale": {"min_nodes": 0, "max_nodes": 1}});
    for (path, body) in [
        ("/api/v1/workspaces/made-once", json!({})),
        ("clusters/made-once", cluster),
        ("endpoints/made-once", json!({"description": "made once"})),
    ] {
        let put = || client.request("PUT", path).header("Idempotency-Key", &format!("first {path}")).json(&body).send();
        let statuses = [put().status, put().status, client.put(path, &body).status];
        assert_eq!(statuses, [201, 201, 200], "{path}");
    }
}

/// A workspace is deleted once nothing is in it; its tokens end with it, and its name is not given again.
pub fn a_workspace_is_deleted_when_it_is_empty(client: &Client) {
    let path = "/api/v1/workspaces/brief";
    let made = client.put(path, &json!({"region": "eu-west"})).expect(201);
    assert_eq!(made["region"], "eu-west");
    client.put(path, &json!({"region": "us-east"})).refused(409, "Immutable");
    let brief = client.in_workspace("brief");
    await_status(&brief, "sweeps", 200);
    let (_, owner) = token(&brief, "owner", "owner");
    await_status(&owner, "sweeps", 200);
    brief.put("endpoints/held", &json!({})).expect(201);
    let refused = client.delete(path).refused(409, "WorkspaceNotEmpty");
    let detail = refused["detail"].as_str().expect("a detail");
    assert!(refused["endpoints"] == 1 && detail.ends_with("1 endpoint"), "{refused}");
    assert_eq!(owner.get("endpoints").status, 200, "it is there as before");
    owner.request("DELETE", path).send().refused(403, "Forbidden");
    brief.delete("endpoints/held");
    // What was on its way while the workspace was deleted is not made in it.
    let status = brief.send_with_pause("PUT", "clusters/ghost", &json!({"vm_size": "D2"}), || {
        await_that(PATIENCE, || match client.delete(path) {
            answer if answer.status == 200 => Ok(()),
            answer => Err(answer.text()),
        });
    });
    assert_eq!(status, 404);
    client.get(path).refused(404, "NotFound");
    brief.post("runs", &json!({})).refused(404, "NotFound");
    // What a creation of the same moment may have left an admin sees and ends.
    for list in ["sweeps", "clusters", "runs"] {
        assert_eq!(brief.get(list).expect(200)[list], json!([]), "{list}");
    }
    brief.delete("clusters/ghost").refused(404, "NotFound");
    await_that(PATIENCE, || match owner.get("sweeps") {
        answer if answer.status == 401 => Ok(()),
        answer => Err(answer.text()),
    });
    let names = client.list("/api/v1/workspaces", "workspaces");
    assert!(names.iter().all(|workspace| workspace["name"] != "brief"), "{names:?}");
    client.put(path, &json!({})).refused(409, "NameIsSpent");
}
