//! Several gateways behind one TCP proxy that hands them connections in turn: whatever one of them was asked, the other
//! one knows, and who follows events goes on at the other one when one is killed.

use std::time::Duration;

use serde_json::{Value, json};
use trialog_testkit::{
    Client, Events, Layout, Places, Proxy, Server, Watchdog, ask_and_tell, asked_parameters, external_sweep,
};

/// For everything: a debug build on a busy machine needs a tenth of it.
const LIMIT: Duration = Duration::from_secs(180);
const PATIENCE: Duration = Duration::from_secs(60);
const TRIALS: usize = 8;
/// Changes that are read again at once.
const CHANGES: usize = 20;
const LAYOUT: Layout = &[
    ("workspaces", &["back"]),
    ("runs", &["back"]),
    ("sweeps", &["back"]),
    ("models", &["back"]),
    ("compute", &["back"]),
    ("gateway", &["gateway"]),
];

fn port(server: &Server) -> u16 {
    let url = server.url();
    url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("no port: {url}"))
}

/// A reader of a sweep's events, and what it has seen of the sweep itself.
struct Reader {
    events: Events,
    last: String,
    seen: Vec<(i64, String)>,
}

impl Reader {
    fn open(client: &Client) -> Self {
        Self { events: client.events("sweeps/told/events"), last: String::new(), seen: Vec::new() }
    }

    /// Goes on behind the last event that it has seen.
    fn resume(&mut self, client: &Client) {
        self.events = client.events(&format!("sweeps/told/events?from={}", self.last));
    }

    /// Reads until something has happened; false when the stream ends before, or nothing comes.
    fn reads_until(&mut self, mut wanted: impl FnMut(&Value) -> bool) -> bool {
        while let Some(event) = self.events.next_within(PATIENCE) {
            self.last = event.id;
            let kind = event.data["type"].as_str().expect("a type").to_owned();
            if kind.starts_with("Sweep") || kind.starts_with("Trial") {
                self.seen.push((event.data["position"].as_i64().expect("a position"), kind));
            }
            if wanted(&event.data) {
                return true;
            }
        }
        false
    }

    /// Until so many trials of the sweep have ended.
    fn reads_ends(&mut self, wanted: usize) -> bool {
        let is_end = |kind: &str| kind == "TrialEnded";
        let before = self.seen.iter().filter(|(_, kind)| is_end(kind)).count();
        let mut ends = before;
        ends >= wanted
            || self.reads_until(|event| {
                ends += usize::from(event["type"].as_str().is_some_and(is_end));
                ends >= wanted
            })
    }
}

/// Changes through one gateway, and reads at once through the other one.
fn reads_its_own_writes(client: &Client, round: usize) {
    for number in 0..CHANGES {
        let description = format!("round {round}, change {number}");
        let change = client.request("PATCH", "sweeps/told").json(&json!({"description": description}));
        let changed = change.send();
        let position = changed.header("trialog-position").to_owned();
        assert_eq!(changed.expect(200)["description"], json!(description));
        assert!(position.starts_with("sweeps="), "{position}");
        let read = client.request("GET", "sweeps/told").header("Trialog-At-Least", &position).send();
        assert_eq!(read.expect(200)["description"], json!(description), "at {position}");
        // The same request again, which goes to the next one, is the same change.
        let again = change.send();
        assert_eq!((again.status, again.header("trialog-position")), (200, position.as_str()), "{}", again.text());
    }
    let far = client.request("GET", "sweeps/told").header("Trialog-At-Least", "sweeps=1000000000").once();
    for _ in 0..2 {
        let refused = far.send();
        assert_eq!(refused.status, 503, "never an older answer: {}", refused.text());
        assert!(!refused.header("retry-after").is_empty(), "{:?}", refused.headers);
    }
}

#[test]
fn who_asks_several_gateways_in_turn_is_answered_by_one_system_also_when_one_is_killed() {
    let places = Places::new(LAYOUT);
    let _watchdog = Watchdog::new(LIMIT, places.home().path(), "several gateways");
    let back = places.start("back");
    let mut first = places.start("gateway");
    let second = Server::start(places.door_to("back"));
    let proxy = Proxy::to_ports(&[port(&first), port(&second)]);
    let client = Client::at(&format!("http://127.0.0.1:{}", proxy.port()), &back.token());

    client.post("sweeps", &external_sweep("told", TRIALS)).expect(201);
    // One after the other, so that each is at another gateway.
    let mut readers = [Reader::open(&client), Reader::open(&client)];
    let mut told: Vec<f64> = (0..TRIALS / 2).map(|_| ask_and_tell(&client, "told")).collect();
    reads_its_own_writes(&client, 1);
    assert!(readers.iter_mut().all(|reader| reader.reads_ends(TRIALS / 2)));

    first.kill();
    told.extend((TRIALS / 2..TRIALS - 1).map(|_| ask_and_tell(&client, "told")));
    reads_its_own_writes(&client, 2);
    told.push(ask_and_tell(&client, "told"));
    let goes_on = readers.each_mut().map(|reader| reader.reads_ends(TRIALS));
    assert!(goes_on[0] != goes_on[1], "each was at another gateway: {goes_on:?}");
    let cut = &mut readers[usize::from(goes_on[0])];
    cut.resume(&client);
    assert!(cut.reads_ends(TRIALS), "it goes on at the other one: {:?}", cut.seen);
    // What was read before and after: all of it, each once, in order.
    let [one, other] = &readers;
    assert_eq!(one.seen, other.seen);
    assert!(one.seen.is_sorted_by(|before, after| before.0 < after.0), "{:?}", one.seen);

    assert_eq!(asked_parameters(&client, "told"), told);
    client.assert_verified("sweeps/told");
    // It comes back at its place, and is asked again.
    first.restart();
    assert_eq!(client.get("sweeps/told").expect(200), client.get("sweeps/told").expect(200));
}
