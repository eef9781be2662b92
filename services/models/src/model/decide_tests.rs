//! Given, when, then for models.

use super::*;

fn at(second: u8) -> jiff::Timestamp {
    format!("2026-11-01T10:00:{second:02}Z").parse().unwrap()
}

fn registered(version: i64) -> VersionRegistered {
    VersionRegistered {
        workspace: "w".into(),
        model: "m".into(),
        version,
        version_id: format!("ver_{version}"),
        run_id: "run_1".into(),
        artifact_path: "outputs/model".into(),
        files: Vec::new(),
        content_sha256: "aa".into(),
        description: String::new(),
        tags: BTreeMap::new(),
        properties: BTreeMap::from([("framework".into(), "sklearn".into())]),
        executes_code: true,
        sweep_id: String::new(),
        trial_index: None,
        code_sha256: String::new(),
        by: "me".into(),
        at: at(0),
    }
}

fn alias(version: i64, second: u8) -> AliasChanged {
    AliasChanged {
        workspace: "w".into(),
        model: "m".into(),
        alias: "champion".into(),
        version,
        previous_version: 0,
        reason: "better".into(),
        by: "me".into(),
        at: at(second),
    }
}

fn run(commands: &[Command]) -> Model {
    let mut state = Model::default();
    for command in commands {
        for event in state.decide(command).unwrap() {
            state.evolve(&event);
        }
    }
    state
}

fn register() -> Command {
    Command::Register(Box::new(registered(0)))
}

#[test]
fn two_registrations_are_versions_1_and_2() {
    // A gap or a repeat in version numbers would make "version 2" ambiguous.
    let model = run(&[register(), register()]);
    assert_eq!(model.versions.iter().map(|v| v.registered.version).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn alias_history_shows_each_move_and_the_past() {
    // "Which model was champion last Tuesday?" must have an answer.
    let model = run(&[
        register(),
        register(),
        Command::PointAlias(alias(1, 10)),
        Command::PointAlias(alias(2, 20)),
        Command::PointAlias(alias(2, 25)),
    ]);
    let moves: Vec<_> = model.history.iter().map(|change| (change.previous_version, change.version)).collect();
    assert_eq!(moves, [(0, 1), (1, 2)], "a repeated wish is no move");
    assert_eq!(model.aliases_of(2), ["champion"]);
}

#[test]
fn an_alias_needs_a_living_version() {
    // An alias to nothing would break the next deployment that follows it.
    assert_eq!(run(&[]).decide(&Command::PointAlias(alias(1, 1))), Err(Rejection::ModelAbsent));
    let one = run(&[register()]);
    assert_eq!(one.decide(&Command::PointAlias(alias(7, 1))), Err(Rejection::VersionAbsent { version: 7, latest: 1 }));
    assert_eq!(one.decide(&Command::PointAlias(alias(0, 1))), Err(Rejection::AliasAbsent("champion".into())));
    let archive = Command::ChangeVersion {
        workspace: "w".into(),
        model: "m".into(),
        version: 1,
        change: Change { is_archived: Some(true), ..Change::default() },
        at: at(1),
    };
    let archived = run(&[register(), archive]);
    assert_eq!(archived.decide(&Command::PointAlias(alias(1, 2))), Err(Rejection::VersionArchived(1)));
}

#[test]
fn properties_are_added_never_changed() {
    // What was recorded about a model's origin must not be edited later.
    let change = |value: &str, name: &str| Command::ChangeVersion {
        workspace: "w".into(),
        model: "m".into(),
        version: 1,
        change: Change { properties: BTreeMap::from([(name.into(), value.into())]), ..Change::default() },
        at: at(1),
    };
    let model = run(&[register()]);
    assert_eq!(model.decide(&change("torch", "framework")), Err(Rejection::PropertyFixed("framework".into())));
    assert_eq!(model.decide(&change("sklearn", "framework")), Ok(vec![]));
    assert_eq!(model.decide(&change("3.11", "python")).unwrap().len(), 1);
}

#[test]
fn many_small_changes_make_nothing_that_is_too_large_to_be_shown() {
    let mut model = run(&[register()]);
    let change =
        |number: usize| Change { tags: [(format!("t{number}"), "x".repeat(60_000))].into(), ..Change::default() };
    for number in 0..17 {
        let of_version = Command::ChangeVersion {
            workspace: "w".into(),
            model: "m".into(),
            version: 1,
            change: change(number),
            at: at(1),
        };
        for command in [of_version, Command::ChangeModel { change: change(number), at: at(1) }] {
            model.decide(&command).unwrap().iter().for_each(|event| model.evolve(event));
        }
    }
    let too_many = Err(Rejection::TooManyTexts {
        field: "tags",
        surplus: "1080044 bytes, limit 1048576; record a file instead".into(),
    });
    assert_eq!(model.decide(&Command::ChangeModel { change: change(17), at: at(2) }), too_many);
    let of_version =
        Command::ChangeVersion { workspace: "w".into(), model: "m".into(), version: 1, change: change(17), at: at(2) };
    assert_eq!(model.decide(&of_version), too_many);
}
