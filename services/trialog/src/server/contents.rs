//! What a data folder's databases hold, and the objects beside them: whether this build can read it all.

use eventlog::{Error, Reader, Store, Stores};
use feed::Publish;
use runs::objects::Objects;

/// Events that are read at once.
const PAGE_EVENTS: u32 = 1_000;
/// Events that are listed one by one; the others are counted.
const EVENTS_MAX: usize = 20;

/// What is wrong, in words. Object contents are read whole where `contents` says so.
pub async fn faults(stores: &Stores, objects: &anyhow::Result<Objects>, contents: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for (service, publisher) in publishers() {
        let store = stores.of(service);
        // That a database is missing or cannot be opened is said of the databases.
        if !store.is_there().await.unwrap_or(false) {
            continue;
        }
        let Ok(reader) = store.reader().await else { continue };
        let mut found = unreadable(&reader, publisher.as_ref()).await;
        found.extend(or_why(feed::consumer::parked_for_good(&reader).await));
        if service == "runs" {
            found.extend(of_objects(&store, &reader, objects, contents).await);
        }
        reader.close().await;
        wrong.extend(found.into_iter().map(|fault| format!("{service}: {fault}")));
    }
    wrong
}

async fn of_objects(store: &Store, reader: &Reader, objects: &anyhow::Result<Objects>, contents: bool) -> Vec<String> {
    let objects = match objects {
        Ok(objects) => objects,
        Err(error) => return vec![format!("its objects cannot be read: {error:#}")],
    };
    let examined = match store.examine().await {
        Ok(examined) => examined,
        Err(error) => return vec![error.to_string()],
    };
    let source = examined.map(|log| format!("runs@{}", log.incarnation)).unwrap_or_default();
    let found = runs::examine::object_faults(reader, (objects, &source), contents).await;
    found.unwrap_or_else(|problem| vec![format!("its objects cannot be read: {problem}")])
}

fn or_why(found: Result<Vec<String>, Error>) -> Vec<String> {
    found.unwrap_or_else(|error| vec![error.to_string()])
}

/// Who reads the events of each service.
fn publishers() -> [(&'static str, Box<dyn Publish>); 5] {
    [
        ("workspaces", Box::new(workspaces::publish::Publisher)),
        ("runs", Box::new(runs::publish::Publisher)),
        ("sweeps", Box::new(sweeps::publish::Publisher)),
        ("models", Box::new(models::publish::Publisher)),
        ("compute", Box::new(compute::publish::Publisher)),
    ]
}

/// Events that nobody can tell others of: they are parked wherever they are followed.
async fn unreadable(reader: &Reader, publisher: &dyn Publish) -> Vec<String> {
    let (mut found, mut more, mut after) = (Vec::new(), 0, 0);
    loop {
        let page = match reader.page(after, PAGE_EVENTS).await {
            Ok(page) => page,
            Err(error) => {
                found.push(format!("its events after {after} cannot be read: {error}"));
                return found;
            }
        };
        let Some(last) = page.last() else { break };
        after = last.position;
        for event in &page {
            if let Err(error) = publisher.publish(event) {
                let (position, stream, kind) = (event.position, &event.stream, &event.kind);
                match found.len() < EVENTS_MAX {
                    true => found.push(format!("event {position} of {stream} ({kind}) cannot be read: {error}")),
                    false => more += 1,
                }
            }
        }
    }
    if more > 0 {
        found.push(format!("{more} more of its events cannot be read"));
    }
    found
}
